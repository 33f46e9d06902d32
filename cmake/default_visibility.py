"""Gives every exported symbol of a shared library default visibility: default_visibility.py INPUT OUTPUT.

Swift marks what it exports as protected. That suits a Swift library, but a C program that was linked without -fPIE and takes
the address of, say, fi_getinfo needs a definition it may stand in for: with a protected one the linker refuses, and the
dynamic loader warns. Calls inside the library were bound at link time, so nothing else changes.
"""

import struct
import sys

SHT_DYNSYM = 11
VISIBILITY = 3  # the two bits of st_other; STV_DEFAULT is 0
SYMBOL_SIZE, OTHER_OFFSET, SECTION_OFFSET = 24, 5, 6  # Elf64_Sym, st_other, st_shndx


def dynamic_symbols(image):
  """(offset, size) of the dynamic symbol table in a 64-bit little-endian ELF image."""
  if image[:6] != b"\x7fELF\x02\x01":
    sys.exit("not a 64-bit little-endian ELF file")
  table, = struct.unpack_from("<Q", image, 0x28)
  entry_size, count = struct.unpack_from("<HH", image, 0x3A)
  for header in range(table, table + count * entry_size, entry_size):
    kind, = struct.unpack_from("<I", image, header + 4)
    if kind == SHT_DYNSYM:
      return struct.unpack_from("<QQ", image, header + 24)
  sys.exit("no dynamic symbol table")


def main(source, target):
  with open(source, "rb") as file:
    image = bytearray(file.read())
  start, size = dynamic_symbols(image)
  for symbol in range(start, start + size, SYMBOL_SIZE):
    section, = struct.unpack_from("<H", image, symbol + SECTION_OFFSET)
    if section:  # defined here
      image[symbol + OTHER_OFFSET] &= ~VISIBILITY
  with open(target, "wb") as file:
    file.write(image)


if __name__ == "__main__":
  main(*sys.argv[1:])
