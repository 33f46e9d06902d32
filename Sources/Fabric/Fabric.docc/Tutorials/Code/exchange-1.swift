import Fabric

let provider = try selectProvider()  // native hardware or UDP; what follows is the same
print(provider.level, provider.reason)
