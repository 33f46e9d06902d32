#define _GNU_SOURCE
#include "CPlatform.h"

#if defined(__linux__)
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#endif

// Versions of glibc before 2.34 have these functions in libdl, a library that only some programs load; with 2.34 they
// moved into libc. So they are asked for as those of shims.c are.

#if defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__))
#if defined(__x86_64__)
#define BASE_VERSION "GLIBC_2.2.5"
#define EXTENSION_VERSION "GLIBC_2.3.3"
#else
#define BASE_VERSION "GLIBC_2.17"
#define EXTENSION_VERSION "GLIBC_2.17"
#endif

#define OLD_VERSION(name, version) __asm__(".symver old_" #name ", " #name "@" version)
#define WEAK __attribute__((weak))

WEAK void *old_dlopen(const char *, int);
WEAK int old_dlclose(void *);
WEAK char *old_dlerror(void);
WEAK void *old_dlsym(void *, const char *);
WEAK void *old_dlvsym(void *, const char *, const char *);
WEAK int old_dlinfo(void *, int, void *);
WEAK int old_dladdr1(const void *, Dl_info *, void **, int);
OLD_VERSION(dlopen, BASE_VERSION);
OLD_VERSION(dlclose, BASE_VERSION);
OLD_VERSION(dlerror, BASE_VERSION);
OLD_VERSION(dlsym, BASE_VERSION);
OLD_VERSION(dlvsym, BASE_VERSION);
OLD_VERSION(dlinfo, EXTENSION_VERSION);
OLD_VERSION(dladdr1, EXTENSION_VERSION);

bool platform_has_libraries(void) {
  return old_dlopen && old_dlclose && old_dlerror && old_dlsym && old_dlvsym && old_dlinfo && old_dladdr1;
}

void *platform_library_open(const char *path) { return old_dlopen(path, RTLD_NOW | RTLD_LOCAL); }

void platform_library_close(void *library) { (void)old_dlclose(library); }

const char *platform_library_error(void) { return old_dlerror(); }

void *platform_library_symbol(void *library, const char *name, const char *version) {
  return version ? old_dlvsym(library, name, version) : old_dlsym(library, name);
}

static const struct link_map *map_of(void *library) {
  struct link_map *map = NULL;
  return old_dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 ? map : NULL;
}

const char *platform_library_path(void *library) {
  const struct link_map *map = map_of(library);
  return map ? map->l_name : NULL;
}

void *platform_library_at(const void *address) {
  Dl_info info;
  void *found = NULL;
  if (!old_dladdr1(address, &info, &found, RTLD_DL_LINKMAP) || found == NULL) return NULL;
  const struct link_map *map = (const struct link_map *)found;
  // Opened once more, because the loader prepares only what was opened for a search. The program has no name.
  return old_dlopen(map->l_name[0] ? map->l_name : NULL, RTLD_LAZY | RTLD_NOLOAD);
}

bool platform_is_privileged(void) { return getauxval(AT_SECURE) != 0; }

// MARK: Binding a library to itself

/// A library's part that the loader makes read-only once it has filled it in.
struct sealed_part {
  uintptr_t base;
  uintptr_t start;
  uintptr_t end;
};

static int find_sealed_part(struct dl_phdr_info *info, size_t size, void *context) {
  struct sealed_part *part = (struct sealed_part *)context;
  (void)size;
  if (info->dlpi_addr != part->base) return 0;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int index = 0; index < info->dlpi_phnum; index++) {
    const ElfW(Phdr) *header = &info->dlpi_phdr[index];
    if (header->p_type != PT_GNU_RELRO) continue;
    // Rounded as the loader rounds.
    part->start = (info->dlpi_addr + header->p_vaddr) & ~(page - 1);
    part->end = (info->dlpi_addr + header->p_vaddr + header->p_memsz) & ~(page - 1);
  }
  return 1;
}

static int seal(const struct sealed_part *part, int protection) {
  if (part->start >= part->end) return 0;
  return mprotect((void *)part->start, part->end - part->start, protection) == 0 ? 0 : -errno;
}

static int unseal(const struct link_map *map, struct sealed_part *part) {
  *part = (struct sealed_part){.base = map->l_addr};
  dl_iterate_phdr(find_sealed_part, part);
  return seal(part, PROT_READ | PROT_WRITE);
}

/// Whether a relocation puts the address of a symbol where it stands.
static bool is_address(unsigned type) {
#if defined(__x86_64__)
  return type == R_X86_64_GLOB_DAT || type == R_X86_64_JUMP_SLOT || type == R_X86_64_64;
#else
  return type == R_AARCH64_GLOB_DAT || type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_ABS64;
#endif
}

static void bind_all(uintptr_t base, const Elf64_Sym *symbols, const Elf64_Rela *table, size_t size) {
  for (size_t index = 0; index < size / sizeof *table; index++) {
    const Elf64_Rela *entry = &table[index];
    const Elf64_Sym *symbol = &symbols[ELF64_R_SYM(entry->r_info)];
    if (!is_address(ELF64_R_TYPE(entry->r_info)) || symbol->st_shndx == SHN_UNDEF ||
        ELF64_ST_TYPE(symbol->st_info) != STT_FUNC)
      continue;
    uintptr_t own = base + symbol->st_value + (uintptr_t)entry->r_addend;
    uintptr_t *slot = (uintptr_t *)(base + entry->r_offset);
    if (*slot != own) __atomic_store_n(slot, own, __ATOMIC_RELAXED);
  }
}

int platform_library_bind_to_itself(void *library) {
  const struct link_map *map = map_of(library);
  if (map == NULL) return -EINVAL;
  const Elf64_Sym *symbols = NULL;
  const Elf64_Rela *data = NULL, *calls = NULL;
  size_t data_size = 0, calls_size = 0;
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
    switch (entry->d_tag) {
      case DT_SYMTAB: symbols = (const Elf64_Sym *)entry->d_un.d_ptr; break;
      case DT_RELA: data = (const Elf64_Rela *)entry->d_un.d_ptr; break;
      case DT_RELASZ: data_size = entry->d_un.d_val; break;
      case DT_JMPREL: calls = (const Elf64_Rela *)entry->d_un.d_ptr; break;
      case DT_PLTRELSZ: calls_size = entry->d_un.d_val; break;
      case DT_TEXTREL: return -ENOTSUP;
      default: break;
    }
  }
  if (symbols == NULL) return -EINVAL;
  struct sealed_part part;
  int result = unseal(map, &part);
  if (result != 0) return result;
  if (data) bind_all(map->l_addr, symbols, data, data_size);
  if (calls) bind_all(map->l_addr, symbols, calls, calls_size);
  return seal(&part, PROT_READ);
}

void platform_library_skip_destructors(void *library) {
  const struct link_map *map = map_of(library);
  struct sealed_part part;
  if (map == NULL || unseal(map, &part) != 0) return;
  // The loader looks here once more when the process ends.
  for (ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
    if (entry->d_tag == DT_FINI_ARRAYSZ) entry->d_un.d_val = 0;
  }
  seal(&part, PROT_READ);
}

#else

// Nowhere else was this tried: programs there have no other libfabric than this one.

bool platform_has_libraries(void) { return false; }
void *platform_library_open(const char *path) { return (void)path, NULL; }
void platform_library_close(void *library) { (void)library; }
const char *platform_library_error(void) { return NULL; }
void *platform_library_symbol(void *library, const char *name, const char *version) {
  return (void)library, (void)name, (void)version, NULL;
}
const char *platform_library_path(void *library) { return (void)library, NULL; }
bool platform_is_privileged(void) { return geteuid() != getuid() || getegid() != getgid(); }
void *platform_library_at(const void *address) { return (void)address, NULL; }
int platform_library_bind_to_itself(void *library) { return (void)library, -ENOSYS; }
void platform_library_skip_destructors(void *library) { (void)library; }

#endif

bool platform_has_entries(const char *directory) {
  DIR *entries = opendir(directory);
  if (entries == NULL) return false;
  bool found = false;
  for (struct dirent *entry = readdir(entries); entry && !found; entry = readdir(entries))
    found = entry->d_name[0] != '.';
  closedir(entries);
  return found;
}
