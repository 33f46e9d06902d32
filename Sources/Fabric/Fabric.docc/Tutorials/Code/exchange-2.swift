import Fabric

let provider = try selectProvider()  // native hardware or UDP; what follows is the same
print(provider.level, provider.reason)
let (left, right) = (try provider.endpoint(), try provider.endpoint())
let peer = try left.addressVector.insert(right.address)
