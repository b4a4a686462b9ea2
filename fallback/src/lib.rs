//! The driver interface on tokio: the backend of Windows, and of Linux where io_uring is absent or forbidden.
