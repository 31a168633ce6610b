/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* bcc lets no function of a program call another one: each is copied to where it is called. */
#ifndef SNF_INLINE_H
#define SNF_INLINE_H

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#endif
