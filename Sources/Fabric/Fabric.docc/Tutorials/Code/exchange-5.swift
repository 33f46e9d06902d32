import Fabric

let provider = try selectProvider()  // native hardware or UDP; what follows is the same
print(provider.level, provider.reason)
let (left, right) = (try provider.endpoint(), try provider.endpoint())
let peer = try left.addressVector.insert(right.address)
try right.recv(provider.domain.receiveRegion(byteCount: 64))
try left.retrying(left.send(provider.domain.sendRegion(copying: "hello"), to: peer))
if let region = try right.completionQueue.wait(milliseconds: 1000)?.takeRegion() { print(String(region)) }
