// A PKCS#11 module that passes every call to the module named by FAULT_PKCS11_MODULE and fails as the file named by
// FAULT_PKCS11_CONTROL commands (CFaultControl.h). Its one symbol is C_GetFunctionList.
#ifndef FAULT_PKCS11_H
#define FAULT_PKCS11_H
#endif
