"""An MPI program whose ranks exchange data in every way they can and check each byte: `exchange.py PART...`.

Started by `run` beside this file, which tells by EXCHANGE_LOGS where each rank leaves its log (standard error), and by
EXCHANGE_WINDOWS=created that windows of memory that MPI gave are left out, since MPI shares it on one host. Rank 0
prints the ranks and, for each part, the bytes of payload that ranks had to send to other ranks, at the least.
"""

import array
import os
import random
import sys

LOGS = os.environ["EXCHANGE_LOGS"]
os.dup2(os.open(f"{LOGS}/{os.getpid()}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)

from mpi4py import MPI  # noqa: E402

WORLD = MPI.COMM_WORLD
RANK, RANKS = WORLD.rank, WORLD.size
NEXT, PREVIOUS = (RANK + 1) % RANKS, (RANK - 1) % RANKS
# Around what libraries treat differently: inline, eager, rendezvous, several segments.
SIZES = (0, 1, 8, 63, 1000, 8192, 16385, 65537, 300_000, 1 << 20, (4 << 20) + 3)
INTEGERS = {"i": MPI.INT, "q": MPI.INT64_T, "d": MPI.DOUBLE}

payload = 0  # bytes this rank has sent to others


def content(size, *names):
  """The bytes that everybody knows a message of these names has."""
  return random.Random(repr(names)).randbytes(size)


def check(found, expected, *names):
  if found != expected:
    raise AssertionError(f"rank {RANK}: {names} has {found!r:.80} instead of {expected!r:.80}")


def sending(size, to=None):
  global payload
  payload += size if to != RANK else 0
  return size


# MARK: Point to point


def ring():
  """Every size goes round, both ways at once."""
  for size in SIZES:
    for to, source in ((NEXT, PREVIOUS), (PREVIOUS, NEXT)):
      buffer = bytearray(size)
      WORLD.Sendrecv(content(sending(size), "ring", RANK, size), to, 1, buffer, source, 1)
      check(buffer, content(size, "ring", source, size), "ring", source, size)


def everybody():
  """All send to all at once; receives are posted before, and in another order than messages come."""
  peers = [rank for rank in range(RANKS) if rank != RANK]
  buffers = {(peer, size): bytearray(size) for peer in peers for size in SIZES}
  requests = [WORLD.Irecv(buffer, peer, 100 + SIZES.index(size)) for (peer, size), buffer in buffers.items()]
  messages = [(content(size, "all", RANK, peer, size), peer, size) for peer in peers for size in reversed(SIZES)]
  requests += [WORLD.Isend(message, peer, 100 + SIZES.index(sending(size))) for message, peer, size in messages]
  MPI.Request.Waitall(requests)
  for (peer, size), buffer in buffers.items():
    check(buffer, content(size, "all", peer, RANK, size), "all", peer, size)


def unexpected():
  """Messages nobody asked for yet are found by probing, whoever and whatever they are from."""
  sizes = SIZES[:-1]
  requests = [WORLD.Isend(content(sending(size), "early", RANK, size), NEXT, 300 + index)
              for index, size in enumerate(sizes)]
  WORLD.Barrier()
  left = set(range(len(sizes)))
  while left:
    status = MPI.Status()
    message = WORLD.Mprobe(MPI.ANY_SOURCE, MPI.ANY_TAG, status)
    index = status.tag - 300
    buffer = bytearray(status.Get_count(MPI.BYTE))
    message.Recv(buffer)
    left.remove(index)
    check(status.source, PREVIOUS, "source of a probed message")
    check(buffer, content(sizes[index], "early", PREVIOUS, sizes[index]), "probed", index)
  MPI.Request.Waitall(requests)


def in_order():
  """A thousand messages of one tag arrive in the order of sending, into receives of any source."""
  requests = [WORLD.Isend(number.to_bytes(sending(4), "little"), NEXT, 7) for number in range(1000)]
  for number in range(1000):
    buffer = bytearray(4)
    WORLD.Recv(buffer, MPI.ANY_SOURCE if number % 2 else PREVIOUS, 7)
    check(int.from_bytes(buffer, "little"), number, "order")
  MPI.Request.Waitall(requests)


def synchronous():
  """A synchronous send ends only when its receive has begun; a receive that is cancelled takes nothing."""
  cancelled = WORLD.Irecv(bytearray(8), PREVIOUS, 99)
  cancelled.Cancel()
  status = MPI.Status()
  cancelled.Wait(status)
  check(status.Is_cancelled(), True, "cancelled")
  request = WORLD.Issend(content(sending(100_000), "synchronous", RANK), NEXT, 8)
  WORLD.Barrier()
  check(request.Test(), False, "a synchronous send without a receive is done")
  WORLD.Barrier()
  buffer = bytearray(100_000)
  WORLD.Recv(buffer, PREVIOUS, 8)
  request.Wait()
  check(buffer, content(100_000, "synchronous", PREVIOUS), "synchronous")


def strided():
  """Every second number leaves, every third is filled: datatypes with gaps; the requests are persistent."""
  count = 20_000
  source, target = array.array("i", range(2 * count)), array.array("i", bytes(12 * count))
  evens = MPI.INT.Create_vector(count, 1, 2).Commit()
  thirds = MPI.INT.Create_vector(count, 1, 3).Commit()
  requests = [WORLD.Send_init([source, 1, evens], NEXT, 9), WORLD.Recv_init([target, 1, thirds], PREVIOUS, 9)]
  for repetition in range(3):
    for index in range(count):
      source[2 * index] = RANK * 1_000_000 + index + repetition
    MPI.Prequest.Startall(requests)
    MPI.Request.Waitall(requests)
    sending(4 * count)
    check(list(target[0::3]), [PREVIOUS * 1_000_000 + index + repetition for index in range(count)], "strided")
    check(any(target[1::3]) or any(target[2::3]), False, "gaps were written")
  for request in requests:
    request.Free()


# MARK: Collectives


def rooted(comm, rank, ranks):
  """Broadcast, scatter, gather and reduce from and to each rank."""
  for root in range(ranks):
    for size in (1, 4000, 200_000):
      buffer = bytearray(content(size, "bcast", root)) if rank == root else bytearray(size)
      comm.Bcast(buffer, root)
      check(buffer, content(size, "bcast", root), "bcast", size)
      parts = b"".join(content(size, "part", to) for to in range(ranks)) if rank == root else None
      buffer = bytearray(size)
      comm.Scatter(parts, buffer, root)
      check(buffer, content(size, "part", rank), "scatter", size)
      whole = bytearray(size * ranks) if rank == root else None
      comm.Gather(buffer, whole, root)
      if rank == root:
        check(whole, parts, "gather", size)
    total = array.array("q", bytes(8 * 1000))
    comm.Reduce(array.array("q", range(rank, rank + 1000)), total if rank == root else None, MPI.SUM, root)
    if rank == root:
      check(list(total), [sum(range(index, index + ranks)) for index in range(1000)], "reduce")


def rootless(comm, rank, ranks):
  """What every rank gets the result of, in each arithmetic."""
  for count in (1, 500, 50_000):
    for code in INTEGERS:
      values = array.array(code, [(rank + 1) * (index % 17) for index in range(count)])
      for operation, fold in ((MPI.SUM, sum), (MPI.MAX, max), (MPI.MIN, min)):
        result = array.array(code, bytes(len(values.tobytes())))
        comm.Allreduce(values, result, operation)
        expected = [fold((other + 1) * (index % 17) for other in range(ranks)) for index in range(17)]
        check(list(result), [expected[index % 17] for index in range(count)], "allreduce", code, count)
  for size in (1, 3000, 100_000):
    whole = bytearray(size * ranks)
    comm.Allgather(content(size, "mine", rank), whole)
    check(whole, b"".join(content(size, "mine", other) for other in range(ranks)), "allgather", size)
    comm.Alltoall(b"".join(content(size, rank, to) for to in range(ranks)), whole)
    check(whole, b"".join(content(size, other, rank) for other in range(ranks)), "alltoall", size)
  counts = [1000 * (other + 1) for other in range(ranks)]
  part = array.array("q", bytes(8 * counts[rank]))
  comm.Reduce_scatter(array.array("q", range(sum(counts))), part, counts)
  start = sum(counts[:rank])
  check(list(part), [ranks * index for index in range(start, start + counts[rank])], "reduce_scatter")
  result = array.array("q", [0])
  comm.Scan(array.array("q", [rank + 1]), result)
  check(result[0], (rank + 1) * (rank + 2) // 2, "scan")


def varying(comm, rank, ranks):
  """Parts of different sizes to everybody, and several operations under way at once."""
  sizes = [[(17 * source + 5 * to) * 101 for to in range(ranks)] for source in range(ranks)]
  out = b"".join(content(size, "v", rank, to) for to, size in enumerate(sizes[rank]))
  arriving = [sizes[source][rank] for source in range(ranks)]
  buffer = bytearray(sum(arriving))
  comm.Alltoallv([out, sizes[rank]], [buffer, arriving])
  check(buffer, b"".join(content(sizes[source][rank], "v", source, rank) for source in range(ranks)), "alltoallv")
  terms = [array.array("q", [rank + number] * 2000) for number in range(4)]
  sums = [array.array("q", bytes(8 * 2000)) for _ in range(4)]
  mine, whole = content(4096, "i", rank), bytearray(4096 * ranks)
  requests = [comm.Iallreduce(term, result) for term, result in zip(terms, sums)]
  requests += [comm.Iallgather(mine, whole), comm.Ibarrier()]
  MPI.Request.Waitall(requests)
  for number in range(4):
    check(list(sums[number]), [sum(range(number, number + ranks))] * 2000, "iallreduce")
  check(whole, b"".join(content(4096, "i", other) for other in range(ranks)), "iallgather")


def communicators():
  """The same over all, over halves in reverse order, and over a copy."""
  halves = WORLD.Split(RANK % 2, -RANK)
  copy = WORLD.Dup()
  for comm in (WORLD, halves, copy):
    for test in (rooted, rootless, varying):
      test(comm, comm.rank, comm.size)
  halves.Free()
  copy.Free()
  # Each rank has told each other one its part of the gathered data at the least.
  sending(3 * 100_000)


# MARK: One-sided

SLOT = 1 << 20


def open_window(size, unit):
  """A window of zeroed memory of the program's own."""
  return MPI.Win.Create(bytearray(size), unit, MPI.INFO_NULL, WORLD)


def windows():
  """Memory of the program's own, and memory that MPI gave."""
  opened = [open_window(SLOT * RANKS, 1)]
  if os.environ.get("EXCHANGE_WINDOWS") != "created":
    opened.append(MPI.Win.Allocate(SLOT * RANKS, 1, MPI.INFO_NULL, WORLD))
  for window in opened:
    yield window
    window.Free()


def fences():
  """Each rank writes into each other one, then reads what others wrote, between fences."""
  for window in windows():
    for size in SIZES[1:-1]:
      window.Fence()
      messages = [content(sending(size, to), "put", RANK, to, size) for to in range(RANKS)]
      for to, message in enumerate(messages):
        window.Put(message, to, RANK * SLOT)
      window.Fence()
      memory = window.tomemory()
      for source in range(RANKS):
        found = bytes(memory[source * SLOT:source * SLOT + size])
        check(found, content(size, "put", source, RANK, size), "put", source, size)
      buffers = [bytearray(size) for _ in range(RANKS)]
      window.Fence()
      for target, buffer in enumerate(buffers):
        window.Get(buffer, target, NEXT * SLOT)
      window.Fence()
      for target, buffer in enumerate(buffers):
        check(buffer, content(size, "put", NEXT, target, size), "get", target, size)


def locks():
  """Counters that all count on, and memory guarded by exclusive locks."""
  window = open_window(64 * 8, 8)
  one, drawn = array.array("q", [1]), []
  window.Lock_all()
  for _ in range(100):
    number = array.array("q", [0])
    window.Fetch_and_op(one, number, 0, 0, MPI.SUM)
    window.Flush(0)
    drawn.append(number[0])
  window.Unlock_all()
  check(sorted(sum(WORLD.allgather(drawn), [])), list(range(100 * RANKS)), "tickets")
  # Not atomic by itself: only the lock keeps the increments of others from being lost.
  for _ in range(20):
    value = array.array("q", [0])
    window.Lock(0, MPI.LOCK_EXCLUSIVE)
    window.Get(value, 0, 1)
    window.Flush(0)
    value[0] += 1
    window.Put(value, 0, 1)
    window.Unlock(0)
  WORLD.Barrier()
  if RANK == 0:
    window.Lock(0, MPI.LOCK_SHARED)
    check(list(memoryview(window.tomemory()).cast("q")[:2]), [100 * RANKS, 20 * RANKS], "counters")
    window.Unlock(0)
  WORLD.Barrier()
  window.Free()


def swaps():
  """A lock of the program's own making, by compare and swap, with the number it guards."""
  window = open_window(64, 8)
  mine, free, found = array.array("q", [RANK + 1]), array.array("q", [0]), array.array("q", [0])
  target = RANKS - 1
  window.Lock_all()
  for _ in range(10):
    while True:
      window.Compare_and_swap(mine, free, found, target, 0)
      window.Flush(target)
      if found[0] == 0:
        break
    value = array.array("q", [0])
    window.Get_accumulate(free, value, target, 1, MPI.NO_OP)
    window.Flush(target)
    value[0] += 1
    window.Accumulate(value, target, 1, MPI.REPLACE)
    window.Flush(target)
    window.Compare_and_swap(free, mine, found, target, 0)
    window.Flush(target)
    check(found[0], RANK + 1, "the lock was mine")
  window.Unlock_all()
  WORLD.Barrier()
  if RANK == target:
    window.Lock(target, MPI.LOCK_SHARED)
    check(list(memoryview(window.tomemory()).cast("q")[:2]), [0, 10 * RANKS], "guarded by swaps")
    window.Unlock(target)
  WORLD.Barrier()
  window.Free()


def accumulations():
  """Sums, maxima and exchanges in all arithmetics, from all ranks into one, long ones too."""
  for code, datatype in INTEGERS.items():
    for count in (1, 100, 20_000):
      size = array.array(code).itemsize
      window = open_window(2 * count * size, size)
      values = array.array(code, [RANK + index % 7 for index in range(count)])
      before = array.array(code, bytes(count * size))
      for target in range(RANKS):
        window.Lock(target, MPI.LOCK_SHARED)
        window.Accumulate([values, datatype], target, 0, MPI.SUM)
        window.Get_accumulate([values, datatype], [before, datatype], target, [count, count, datatype], MPI.MAX)
        window.Unlock(target)
        check(all(0 <= value < RANKS + 6 for value in before), True, "what a maximum replaced")
        sending(2 * count * size, target)
      WORLD.Barrier()
      window.Lock(RANK, MPI.LOCK_SHARED)
      memory = list(memoryview(window.tomemory()).cast(code))
      window.Unlock(RANK)
      sums = [sum(range(RANKS)) + RANKS * (index % 7) for index in range(count)]
      check(memory, sums + [RANKS - 1 + index % 7 for index in range(count)], "accumulated", code, count)
      WORLD.Barrier()
      window.Free()


def epochs():
  """Post, start, complete and wait between neighbours; requests of single operations."""
  window = open_window(SLOT, 1)
  group = WORLD.Get_group()
  targets, origins = group.Incl([NEXT]), group.Incl([PREVIOUS])
  for size in (8, 5000, SLOT):
    window.Post(origins)
    window.Start(targets)
    message = content(sending(size), "epoch", RANK, size)
    window.Put(message, NEXT)
    window.Complete()
    window.Wait()
    check(bytes(window.tomemory()[:size]), content(size, "epoch", PREVIOUS, size), "epoch", size)
  window.Lock_all()
  WORLD.Barrier()
  window.Rput(content(sending(SLOT), "request", RANK), NEXT).Wait()
  window.Flush(NEXT)
  WORLD.Barrier()
  buffer = bytearray(SLOT)
  window.Rget(buffer, NEXT).Wait()
  window.Unlock_all()
  check(buffer, content(SLOT, "request", RANK), "rget")
  window.Free()


PARTS = {
  "point-to-point": (ring, everybody, unexpected, in_order, synchronous, strided),
  "collectives": (communicators,),
  "one-sided": (fences, locks, swaps, accumulations, epochs),
}


def main():
  global payload
  for part in sys.argv[1:]:
    payload = 0
    for test in PARTS[part]:
      test()
      WORLD.Barrier()
    total = WORLD.reduce(payload)
    if RANK == 0:
      print(f"{part}: {RANKS} ranks, {total} bytes", flush=True)


try:
  main()
except BaseException as error:
  print(f"{type(error).__name__}: {error}", flush=True)
  WORLD.Abort(1)
