/* Hides AVX-512, VNNI and AMX from a program, so that kernels are timed as on a CPU without them.
 *
 * ``without_vnni.py`` compiles and preloads it.
 *
 * Linux on x86-64 can let the instruction CPUID fault (arch_prctl ARCH_SET_CPUID, Linux 4.12, where
 * the processor has cpuid_fault). The handler executes it and clears the bits of the features.
 * Where it cannot, WITHOUT_VNNI_TRAPS says that CPUID was replaced by a trap (INT3, NOP) in a copy
 * of the library whose kernels are timed; the handler of the trap does the same.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static struct sigaction before[2]; /* what handled faults, and traps */
static int faults;                 /* whether CPUID faults here */

static long allow_cpuid(unsigned long allowed) {
  return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed);
}

static void hide(uint32_t leaf, uint32_t sub, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
  if (leaf != 7) return;
  if (sub == 0) {
    *b &= ~(1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31);
    *c &= ~(1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14);              /* AVX-512, VNNI */
    *d &= ~(1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25);  /* AMX */
  } else if (sub == 1) {
    *a &= ~(1u << 4 | 1u << 5 | 1u << 21 | 1u << 23);  /* AVX-VNNI, bfloat16, float16, IFMA */
    *d &= ~(1u << 4 | 1u << 5 | 1u << 10 | 1u << 19);  /* AVX-VNNI-INT8 and INT16, AVX10 */
  }
}

static void answer(greg_t *r) {
  uint32_t leaf = (uint32_t)r[REG_RAX], sub = (uint32_t)r[REG_RCX], a = leaf, b, c = sub, d;
  if (faults) allow_cpuid(1);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (faults) allow_cpuid(0);
  hide(leaf, sub, &a, &b, &c, &d);
  r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
}

static void handle(int sig, siginfo_t *info, void *context) {
  greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)r[REG_RIP];
  int trap = sig == SIGTRAP; /* the trap is behind us: INT3, and the NOP to come */
  if (trap && at[-1] == 0xcc && at[0] == 0x90) {
    answer(r);
    r[REG_RIP] += 1;
  } else if (!trap && at[0] == 0x0f && at[1] == 0xa2) {
    answer(r);
    r[REG_RIP] += 2;
  } else { /* not CPUID: what would have happened without us */
    const struct sigaction *then = &before[trap];
    if (then->sa_flags & SA_SIGINFO && then->sa_sigaction)
      then->sa_sigaction(sig, info, context);
    else
      signal(sig, SIG_DFL);
  }
}

__attribute__((constructor)) static void start(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &before[0]);
  sigaction(SIGTRAP, &action, &before[1]);
  faults = !allow_cpuid(0);
  if (!faults && !getenv("WITHOUT_VNNI_TRAPS")) {
    perror("CPUID cannot be made to fault here");
    _exit(1);
  }
}
