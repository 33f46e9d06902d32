/// Doubles the room of an array behind a pointer. Elements keep their order, not their address.
///
/// `count` elements from the start are in use. Amortized O(1) for each element that is appended.
package func doubleCapacity<Element>(
  of base: inout UnsafeMutablePointer<Element>, count: Int, _ capacity: inout Int
) {
  let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
  larger.moveInitialize(from: base, count: count)
  base.deallocate()
  base = larger
  capacity *= 2
}
