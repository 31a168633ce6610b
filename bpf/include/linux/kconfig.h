/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
#define CONFIG_BPF_SYSCALL 1
