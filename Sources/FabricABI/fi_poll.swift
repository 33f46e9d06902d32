import CFabric
import Provider

// Wait sets and poll sets are not offered; their open calls are in fi_enosys.swift.

/// fi_poll(3), fi_trywait
func fabric_trywait(
  _ fabric: UnsafeMutablePointer<fid_fabric>?,
  _ fids: UnsafeMutablePointer<UnsafeMutablePointer<fid>?>?, _ count: Int32
) -> Int32 {
  status { () throws(FabricError) in
    guard count > 0 else { return }
    guard let fids else { throw .invalidArgument.because(.fabric, "no list of objects", in: "fi_trywait") }
    for index in 0..<Int(count) {
      guard let fid = fids[index] else {
        throw .invalidArgument.because(.fabric, "a list with an empty place", in: "fi_trywait")
      }
      switch fid.pointee.fclass {
      case Int(FI_CLASS_CQ): try object(fid, lfp_cq.self).prepareToWait()
      case Int(FI_CLASS_EQ): try object(fid, lfp_eq.self).prepareToWait()
      default: throw .invalidArgument.because(.fabric, "neither a completion nor an event queue", in: "fi_trywait")
      }
    }
  }
}
