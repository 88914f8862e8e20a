// Cryptoki 2.40 as p11-kit declares it, and p11-kit's loader and RFC 7512 URIs. The macros below are casts, which the
// Swift importer leaves out, so each returns as a constant.
#ifndef TRUSTCORE_CP11KIT_SHIM_H
#define TRUSTCORE_CP11KIT_SHIM_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>

// Marks an attribute length that the token does not tell (C_GetAttributeValue).
static const unsigned long TRUSTCORE_CK_UNAVAILABLE_INFORMATION = CK_UNAVAILABLE_INFORMATION;

#endif
