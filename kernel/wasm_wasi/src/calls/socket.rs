//! Sockets. A guest is given none, and preview 1 has no way to make one: so nothing it has is a socket.

use crate::Errno;
use crate::linker::{Call, Outcome};

impl Call<'_> {
    fn no_socket(&self, fd: u32) -> Outcome {
        self.ctx.table.get(fd)?;
        Err(Errno::Notsock.into())
    }

    pub(crate) fn sock_accept(&mut self, fd: u32, _flags: u32, _result: u32) -> Outcome {
        self.no_socket(fd)
    }

    pub(crate) fn sock_recv(
        &mut self,
        fd: u32,
        _array: u32,
        _count: u32,
        _flags: u32,
        _result: u32,
        _result_flags: u32,
    ) -> Outcome {
        self.no_socket(fd)
    }

    pub(crate) fn sock_send(
        &mut self,
        fd: u32,
        _array: u32,
        _count: u32,
        _flags: u32,
        _result: u32,
    ) -> Outcome {
        self.no_socket(fd)
    }

    pub(crate) fn sock_shutdown(&mut self, fd: u32, _how: u32) -> Outcome {
        self.no_socket(fd)
    }
}
