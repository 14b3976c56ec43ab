use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket that is read only when it may have bytes.
///
/// hyper reads several times for each response, mostly in vain, and each time the runtime takes a
/// lock, only to find again that no bytes have come. So the runtime gets a waker that sets a flag
/// here. While the flag is clear, no bytes have come, and the read is pending without a call of the
/// runtime.
#[derive(Debug)]
pub(super) struct Socket<T> {
    io: T,
    /// The flag for the task that has read last; `None` before the first read.
    readiness: Option<Readiness>,
}

/// A readiness flag, and the waker that sets it. The runtime gets the waker.
#[derive(Debug)]
struct Readiness {
    flag: Arc<Flag>,
    waker: Waker,
}

/// Whether the socket may have got bytes since it was last read.
#[derive(Debug)]
struct Flag {
    is_set: AtomicBool,
    reader: Waker,
}

impl Flag {
    #[inline]
    fn is_quiet(&self, reader: &Waker) -> bool {
        !self.is_set.load(Acquire) && self.reader.will_wake(reader)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Release);
        self.reader.wake_by_ref();
    }
}

impl Readiness {
    /// Makes it with the flag set, since the socket was not read yet.
    fn for_reader(reader: &Waker) -> Self {
        let flag = Arc::new(Flag {
            is_set: AtomicBool::new(true),
            reader: reader.clone(),
        });
        let waker = Waker::from(flag.clone());
        Self { flag, waker }
    }
}

impl<T> Socket<T> {
    pub(super) fn new(io: T) -> Self {
        Self {
            io,
            readiness: None,
        }
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.io
    }

    /// Whether no bytes have come for this task, and it is woken when they do.
    #[inline]
    pub(super) fn is_quiet(&self, cx: &Context<'_>) -> bool {
        self.readiness
            .as_ref()
            .is_some_and(|it| it.flag.is_quiet(cx.waker()))
    }

    #[inline]
    fn io(self: Pin<&mut Self>) -> Pin<&mut T>
    where
        T: Unpin,
    {
        Pin::new(&mut self.get_mut().io)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_quiet(cx) {
            return Poll::Pending;
        }
        let Self { io, readiness } = &mut *self;
        let Readiness { flag, waker } = match readiness {
            Some(it) if it.flag.reader.will_wake(cx.waker()) => it,
            _ => readiness.insert(Readiness::for_reader(cx.waker())),
        };
        // Cleared before the read: bytes that come later set it again.
        flag.is_set.swap(false, AcqRel);
        let read = ready!(Pin::new(io).poll_read(&mut Context::from_waker(waker), buf));
        // There may be more bytes, and the runtime will not wake the task for them.
        flag.is_set.store(true, Release);
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, buf)
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Has bytes when it is told to, and counts how often it is asked for them.
    #[derive(Default)]
    struct Scripted {
        bytes: &'static [u8],
        asked: usize,
        reader: Option<Waker>,
    }

    impl Scripted {
        fn receive(&mut self, bytes: &'static [u8]) {
            self.bytes = bytes;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }

    impl AsyncRead for Scripted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked += 1;
            if self.bytes.is_empty() {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let (now, later) = self.bytes.split_at(self.bytes.len().min(buf.remaining()));
            buf.put_slice(now);
            self.bytes = later;
            Poll::Ready(Ok(()))
        }
    }

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Relaxed)
        }

        /// Reads up to four bytes in this task.
        fn read(self: &Arc<Self>, socket: &mut Socket<Scripted>) -> Poll<Vec<u8>> {
            let mut room = [0; 4];
            let mut buf = ReadBuf::new(&mut room);
            let waker = Waker::from(self.clone());
            Pin::new(socket)
                .poll_read(&mut Context::from_waker(&waker), &mut buf)
                .map(|read| {
                    read.unwrap();
                    buf.filled().to_vec()
                })
        }
    }

    #[test]
    fn what_has_nothing_is_not_asked_again_until_it_wakes_its_reader() {
        let task = Arc::new(Task::default());
        let mut socket = Socket::new(Scripted::default());
        for _ in 0..3 {
            assert!(task.read(&mut socket).is_pending());
        }
        assert_eq!((socket.io.asked, task.woken()), (1, 0));
        socket.io.receive(b"abc");
        assert_eq!(task.woken(), 1);
        assert_eq!(task.read(&mut socket), Poll::Ready(b"abc".to_vec()));
        assert_eq!(socket.io.asked, 2);
    }

    #[test]
    fn what_had_something_is_asked_for_more() {
        let task = Arc::new(Task::default());
        let mut socket = Socket::new(Scripted::default());
        socket.io.receive(b"abcdef");
        assert_eq!(task.read(&mut socket), Poll::Ready(b"abcd".to_vec()));
        assert_eq!(task.read(&mut socket), Poll::Ready(b"ef".to_vec()));
        assert!(task.read(&mut socket).is_pending());
        assert!(task.read(&mut socket).is_pending());
        assert_eq!(socket.io.asked, 3);
    }

    #[test]
    fn another_task_that_reads_is_the_one_that_is_woken() {
        let (first, second) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut socket = Socket::new(Scripted::default());
        assert!(first.read(&mut socket).is_pending());
        assert!(second.read(&mut socket).is_pending());
        assert_eq!(socket.io.asked, 2);
        socket.io.receive(b"a");
        assert_eq!((first.woken(), second.woken()), (0, 1));
        assert_eq!(second.read(&mut socket), Poll::Ready(b"a".to_vec()));
    }

    #[test]
    fn a_wake_up_in_vain_does_not_make_it_deaf() {
        let task = Arc::new(Task::default());
        let mut socket = Socket::new(Scripted::default());
        assert!(task.read(&mut socket).is_pending());
        // Woken without anything there, as by a budget that is used up.
        socket.io.receive(b"");
        assert!(task.read(&mut socket).is_pending());
        socket.io.receive(b"a");
        assert_eq!(task.woken(), 2);
        assert_eq!(task.read(&mut socket), Poll::Ready(b"a".to_vec()));
    }
}
