/* The program's entry: crt1.o of a new glibc calls __libc_start_main@GLIBC_2.34, which an old one lacks. This one calls
 * the oldest version, whose signature takes init and fini functions (none here). Only where OLD_GLIBC is set; sanitizer
 * builds use the compiler's own start files. */
#ifdef OLD_GLIBC
#if defined __x86_64__
__asm__(".symver __libc_start_main,__libc_start_main@GLIBC_2.2.5\n"
        ".text\n.globl _start\n.type _start,@function\n_start:\n"
        "endbr64\nxor %ebp,%ebp\nmov %rdx,%r9\npop %rsi\nmov %rsp,%rdx\nand $-16,%rsp\npush %rax\npush %rsp\n"
        "xor %r8d,%r8d\nxor %ecx,%ecx\nlea main(%rip),%rdi\ncall *__libc_start_main@GOTPCREL(%rip)\nhlt\n"
        ".size _start,.-_start\n");
#elif defined __aarch64__
__asm__(".symver __libc_start_main,__libc_start_main@GLIBC_2.17\n"
        ".text\n.globl _start\n.type _start,%function\n_start:\n"
        "mov x29,#0\nmov x30,#0\nmov x5,x0\nldr x1,[sp]\nadd x2,sp,#8\nmov x6,sp\n"
        "adrp x0,main\nadd x0,x0,:lo12:main\nmov x3,#0\nmov x4,#0\nbl __libc_start_main\nbrk #0\n"
        ".size _start,.-_start\n");
#else
#error "no start code for this architecture"
#endif
#endif
typedef int start_is_not_empty; /* ISO C wants a declaration in every file */
