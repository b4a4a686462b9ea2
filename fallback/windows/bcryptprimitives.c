/* The one function of bcryptprimitives.dll that Rust's standard library calls, for Wine before 9. Windows has the whole. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    while (count > 0) {
        ULONG step = count > 0x10000 ? 0x10000 : (ULONG)count;
        if (!SystemFunction036(bytes, step))
            return FALSE;
        bytes += step;
        count -= step;
    }
    return TRUE;
}
