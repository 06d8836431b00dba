/* The worker host's program inside the agent: one file to bring to a host. */
    .section .rodata
    .globl worker_host_begin, worker_host_end
    .balign 16
worker_host_begin:
    .incbin WORKER_HOST
worker_host_end:
    .section .note.GNU-stack,"",@progbits
