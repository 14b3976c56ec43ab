use std::{
    convert::Infallible,
    error::Error as _,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody, channel::Channel};
use proptest::{
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq},
    prop_oneof, proptest,
};

use super::{
    BodyFactory, Copying, Ending, ReplayBody, ReplayBodyError, ReplayMemory, ReplaySource,
};
use crate::named::BoxError;

fn poll<B>(body: &mut ReplayBody<B>) -> Poll<Option<Result<Frame<Bytes>, ReplayBodyError>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    ReplayBody<B>: Unpin,
{
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn next<B>(body: &mut ReplayBody<B>) -> Bytes
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    ReplayBody<B>: Unpin,
{
    let Poll::Ready(Some(Ok(frame))) = poll(body) else {
        panic!("no frame")
    };
    frame.into_data().unwrap()
}

fn pieces(sizes: &[usize]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
    let frames: Vec<_> = sizes
        .iter()
        .map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; *size]))))
        .collect();
    StreamBody::new(Iter(frames.into_iter()))
}

struct Iter(std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>);

impl futures_core::Stream for Iter {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[test]
fn what_a_dropped_attempt_still_reads_is_not_missing_from_the_next() {
    let (source, mut first) = ReplaySource::record(pieces(&[4, 4, 4, 4]), 8, None);
    assert_eq!(next(&mut first).len(), 4);
    assert!(source.supersede(Ending::Failed));
    // It lives on in a task of its own, and would read beyond what is source.
    let Poll::Ready(Some(Err(error))) = poll(&mut first) else {
        panic!("it may not read on")
    };
    assert!(error.is_superseded());
    let mut second = source.rewind();
    let whole: usize = (0..4).map(|_| next(&mut second).len()).sum();
    assert_eq!(whole, 16);
}

#[test]
fn an_attempt_that_has_read_too_far_cannot_be_superseded() {
    let (source, mut first) = ReplaySource::record(pieces(&[4, 4, 4, 4]), 8, None);
    for _ in 0..3 {
        next(&mut first);
    }
    assert!(!source.supersede(Ending::Failed));
    assert_eq!(next(&mut first).len(), 4, "it goes on with what it has");
}

/// A body without an end, and how many of them there are.
struct Counted {
    _count: Arc<()>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abcd")))))
    }
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_left_to_its_attempt() {
    let count = Arc::new(());
    let (source, mut first) = ReplaySource::record(
        Counted {
            _count: count.clone(),
        },
        8,
        None,
    );
    for _ in 0..4 {
        assert_eq!(next(&mut first), "abcd");
    }
    assert!(!source.is_replayable(Ending::Failed));
    assert_eq!(Arc::strong_count(&count), 2);
    drop(first);
    assert_eq!(Arc::strong_count(&count), 1, "no other attempt can read it");
    let Poll::Ready(Some(Err(error))) = poll(&mut source.rewind()) else {
        panic!("it has gone with its attempt")
    };
    assert!(!error.is_superseded());
}

#[test]
fn a_reader_that_waits_is_told_that_it_was_superseded() {
    let (_sender, body) = Channel::<Bytes>::new(1);
    let (source, mut first) = ReplaySource::record(body, 8, None);
    let mut first = tokio_test::task::spawn(async move {
        std::future::poll_fn(|cx| Pin::new(&mut first).poll_frame(cx)).await
    });
    assert!(first.poll().is_pending());
    assert!(source.supersede(Ending::Failed));
    assert!(first.is_woken());
    let Poll::Ready(Some(Err(error))) = first.poll() else {
        panic!("it may not read on")
    };
    assert!(error.is_superseded());
}

#[test]
fn a_body_whose_last_byte_was_read_is_whole_without_its_end() {
    let (source, mut first) =
        ReplaySource::record(Sized(Some(Bytes::from_static(b"abc"))), 8, None);
    assert!(source.is_replayable(Ending::Answered), "never polled");
    next(&mut first);
    assert!(source.is_replayable(Ending::Answered));
    assert!(source.supersede(Ending::Answered));
    assert_eq!(next(&mut source.rewind()), "abc");
}

/// A body that knows its length, and leaves `is_end_stream` at its default.
struct Sized(Option<Bytes>);

impl Body for Sized {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[test]
fn a_factory_beside_an_empty_body_makes_none() {
    let factory = BodyFactory::new(|| Full::<Bytes>::from("old"));
    let (source, first) = ReplaySource::make(Full::<Bytes>::default(), factory);
    assert!(first.is_end_stream());
    assert!(source.rewind().is_end_stream());
}

#[test]
fn a_wrapper_of_32_bytes_takes_40() {
    assert!(size_of::<ReplayBody<Bytes32>>() <= 40);
}

struct Bytes32(#[expect(dead_code, reason = "only its size matters")] [usize; 4]);

#[test]
fn bytes_are_kept_whatever_their_size_and_not_copied() {
    let data = Bytes::from(vec![1; 1 << 20]);
    let (source, mut body) = ReplaySource::record(Full::new(data.clone()), 16, None);
    assert!(source.is_replayable(Ending::Answered), "never polled");
    assert_eq!(next(&mut body).as_ptr(), data.as_ptr());
    assert!(body.is_end_stream());
    assert!(source.is_replayable(Ending::Answered));

    let mut again = source.rewind();
    assert_eq!(again.size_hint().exact(), Some(1 << 20));
    assert!(!again.is_end_stream());
    assert_eq!(next(&mut again).as_ptr(), data.as_ptr());
    assert!(again.is_end_stream());
    assert_eq!(again.size_hint().exact(), Some(0));
}

#[test]
fn a_stream_within_the_bound_is_replayed_and_goes_on() {
    let (source, mut body) = ReplaySource::record(pieces(&[3, 4, 5]), 64, None);
    assert_eq!(next(&mut body).len(), 3);
    assert!(source.is_replayable(Ending::Failed));
    assert!(
        !source.is_replayable(Ending::Answered),
        "answered before it was read whole"
    );

    let mut again = source.rewind();
    let lengths = [
        next(&mut again).len(),
        next(&mut again).len(),
        next(&mut again).len(),
    ];
    assert_eq!(lengths, [3, 4, 5]);
    assert!(matches!(poll(&mut again), Poll::Ready(None)));
    assert!(source.is_replayable(Ending::Answered));
}

#[test]
fn a_stream_of_more_pieces_than_there_is_room_for_is_replayed_and_let_go() {
    let sizes: Vec<usize> = (1..=40).collect();
    let (source, mut body) = ReplaySource::record(pieces(&sizes), usize::MAX, None);
    let mut frames: Vec<_> = sizes.iter().map(|_| next(&mut body)).collect();
    assert!(source.supersede(Ending::Failed));

    let mut again = source.rewind();
    for frame in &frames[..20] {
        assert_eq!(next(&mut again).as_ptr(), frame.as_ptr());
    }
    // The server has answered, and still gets what is left.
    source.release();
    assert!(frames.iter().all(|frame| !frame.is_unique()));
    for frame in &frames[20..] {
        assert_eq!(next(&mut again).as_ptr(), frame.as_ptr());
    }
    assert!(frames.iter_mut().all(|frame| frame.is_unique()));
    assert!(matches!(poll(&mut again), Poll::Ready(None)));
}

#[test]
fn the_length_that_is_left_goes_down_on_each_attempt() {
    struct Halves(u64);
    impl Body for Halves {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0 -= 2;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"ab")))))
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }
    let (source, mut first) = ReplaySource::record(Halves(4), 64, None);
    next(&mut first);
    assert_eq!(first.size_hint().exact(), Some(2));
    let mut second = source.rewind();
    assert_eq!(second.size_hint().exact(), Some(4));
    next(&mut second);
    assert_eq!(second.size_hint().exact(), Some(2));
}

#[test]
fn an_attempt_that_was_given_up_never_announces_less_than_the_whole_body() {
    let (source, mut first) =
        ReplaySource::record(Full::new(Bytes::from_static(b"abcd")), 64, None);
    let mut second = source.rewind();
    assert_eq!(next(&mut second), "abcd");
    // It waited in a queue, and its head is only written now.
    assert_eq!(first.size_hint().exact(), Some(4));
    assert!(!first.is_end_stream());
    assert!(matches!(poll(&mut first), Poll::Ready(Some(Err(_)))));
}

#[test]
fn a_piece_may_ask_the_tape_when_it_is_dropped() {
    /// The memory of a piece that a reader of the body holds for longer.
    struct Owner(Arc<Mutex<Option<ReplaySource<Full<Bytes>>>>>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            b"piece"
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            let source = self.0.lock().unwrap();
            assert!(!source.as_ref().unwrap().is_replayable(Ending::Failed));
        }
    }
    let slot = Arc::new(Mutex::new(None));
    let piece = Bytes::from_owner(Owner(Arc::clone(&slot)));
    let (source, mut body) = ReplaySource::record(Full::new(piece), 64, None);
    drop(next(&mut body));
    let ReplaySource::Recorded(tape) = &source else {
        panic!("it has a body")
    };
    let tape = Arc::clone(tape);
    *slot.lock().unwrap() = Some(source);
    tape.discard();
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

#[test]
fn a_stream_over_the_bound_is_sent_once() {
    let (source, mut body) = ReplaySource::record(pieces(&[3, 4, 5]), 6, None);
    assert_eq!(next(&mut body).len(), 3);
    assert_eq!(next(&mut body).len(), 4);
    assert!(!source.is_replayable(Ending::Failed));
    assert_eq!(next(&mut body).len(), 5);
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert!(!source.is_replayable(Ending::Failed));
}

#[test]
fn under_a_bound_of_memory_short_slices_do_not_keep_their_buffer() {
    let buffer = Bytes::from(vec![b'x'; 1 << 20]);
    let slices = [buffer.slice(..3), buffer.slice(3..7), buffer.slice(7..8)];
    let frames: Vec<_> = slices.into_iter().map(|it| Ok(Frame::data(it))).collect();
    let memory = ReplayMemory::new(8);
    let body = StreamBody::new(Iter(frames.into_iter()));
    let (source, mut first) = ReplaySource::record(body, 64, Some(&memory));
    while let Poll::Ready(Some(frame)) = poll(&mut first) {
        frame.unwrap();
    }
    assert!(buffer.is_unique(), "a megabyte for eight bytes");
    assert!(source.supersede(Ending::Answered));
    let mut again = source.rewind();
    let whole: usize = (0..3).map(|_| next(&mut again).len()).sum();
    assert_eq!(whole, 8);
}

#[test]
fn under_a_bound_pieces_beyond_the_tape_count_with_their_overhead() {
    for (number, fits) in [(16, true), (17, false)] {
        let memory = ReplayMemory::new(100);
        let (source, mut body) = ReplaySource::record(pieces(&vec![1; number]), 64, Some(&memory));
        while let Poll::Ready(Some(_)) = poll(&mut body) {}
        assert_eq!(source.is_replayable(Ending::Answered), fits, "{number}");
    }
}

#[tokio::test]
async fn under_a_bound_of_memory_trailers_count() {
    for (limit, fits) in [(9, true), (8, false)] {
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
        let trailers = [("checksum", "1")].map(|(name, value)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            )
        });
        sender
            .send_trailers(trailers.into_iter().collect())
            .await
            .unwrap();
        drop(sender);
        let memory = ReplayMemory::new(limit);
        let (source, first) = ReplaySource::record(channel, 64, Some(&memory));
        first.collect().await.unwrap();
        assert_eq!(source.is_replayable(Ending::Answered), fits, "{limit}");
    }
}

#[test]
fn a_stream_exactly_at_the_bound_is_kept() {
    let (source, mut body) = ReplaySource::record(pieces(&[3, 4]), 7, None);
    while let Poll::Ready(Some(_)) = poll(&mut body) {}
    assert!(source.is_replayable(Ending::Answered));
}

#[test]
fn a_superseded_body_fails_and_never_ends_early() {
    let (source, mut old) = ReplaySource::record(pieces(&[3, 4]), 64, None);
    assert_eq!(next(&mut old).len(), 3);
    let mut new = source.rewind();
    assert!(!old.is_end_stream());
    let Poll::Ready(Some(Err(error))) = poll(&mut old) else {
        panic!("must fail")
    };
    assert!(error.is_superseded());
    assert_eq!(next(&mut new).len(), 3);
}

#[test]
fn a_body_that_failed_is_not_replayed() {
    let frames = vec![Ok(Frame::data(Bytes::from_static(b"a"))), Err("broken")];
    let (source, mut body) =
        ReplaySource::record(StreamBody::new(Failing(frames.into_iter())), 64, None);
    assert_eq!(next(&mut body), "a");
    let Poll::Ready(Some(Err(error))) = poll(&mut body) else {
        panic!("must fail")
    };
    assert_eq!(error.source().unwrap().to_string(), "broken");
    assert!(!source.is_replayable(Ending::Failed));
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
}

struct Failing(std::vec::IntoIter<Result<Frame<Bytes>, &'static str>>);

impl futures_core::Stream for Failing {
    type Item = Result<Frame<Bytes>, &'static str>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next())
    }
}

#[test]
fn a_body_that_panicked_fails_in_the_next_attempt() {
    struct Panicking;
    impl Body for Panicking {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("a bug in another crate")
        }
    }
    let (source, mut body) = ReplaySource::record(Panicking, 64, None);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body)));
    assert!(panicked.is_err());
    assert!(!source.is_replayable(Ending::Failed));
    assert!(matches!(
        poll(&mut source.rewind()),
        Poll::Ready(Some(Err(_)))
    ));
}

#[tokio::test]
async fn trailers_are_replayed() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data(Bytes::from_static(b"data")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("checksum", http::HeaderValue::from_static("1"));
    sender.send_trailers(trailers.clone()).await.unwrap();
    drop(sender);

    let (source, first) = ReplaySource::record(channel, 64, None);
    assert_eq!(first.collect().await.unwrap().trailers(), Some(&trailers));
    assert!(source.is_replayable(Ending::Answered));
    let again = source.rewind().collect().await.unwrap();
    assert_eq!(again.trailers(), Some(&trailers));
    assert_eq!(again.to_bytes(), "data");
}

#[tokio::test]
async fn a_pending_body_wakes_the_newest_attempt() {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
    let (source, mut old) = ReplaySource::record(channel, 64, None);
    assert!(poll(&mut old).is_pending());
    let new = tokio::spawn(source.rewind().collect());
    tokio::task::yield_now().await;
    sender.send_data(Bytes::from_static(b"late")).await.unwrap();
    drop(sender);
    assert_eq!(new.await.unwrap().unwrap().to_bytes(), "late");
}

/// While it is polled for the first attempt, the second one starts and polls too.
struct Overtaken {
    overtake: Option<Box<dyn FnOnce()>>,
}

impl Body for Overtaken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.overtake.take().map(|overtake| {
            overtake();
            Ok(Frame::data(Bytes::from_static(b"frame")))
        }))
    }
}

#[test]
fn an_attempt_that_overtakes_a_poll_gets_its_frame() {
    use std::{cell::RefCell, rc::Rc};

    let source: Rc<RefCell<Option<ReplaySource<Overtaken>>>> = Rc::default();
    let newer: Rc<RefCell<Option<ReplayBody<Overtaken>>>> = Rc::default();
    let woken = tokio_test::task::spawn(());
    let waker = Rc::new(RefCell::new(woken));
    let overtake = {
        let (source, newer, waker) = (Rc::clone(&source), Rc::clone(&newer), Rc::clone(&waker));
        move || {
            let mut body = source.borrow().as_ref().map(ReplaySource::rewind).unwrap();
            waker.borrow_mut().enter(|cx, _| {
                assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
            });
            *newer.borrow_mut() = Some(body);
        }
    };
    let body = Overtaken {
        overtake: Some(Box::new(overtake)),
    };
    // Nothing is source but what an attempt that was overtaken had read.
    let (first, mut old) = ReplaySource::record(body, 0, None);
    *source.borrow_mut() = Some(first);

    let Poll::Ready(Some(Err(error))) = poll(&mut old) else {
        panic!("must fail")
    };
    assert!(error.is_superseded());
    assert!(waker.borrow().is_woken());
    let mut newer = newer.borrow_mut().take().unwrap();
    assert_eq!(next(&mut newer), "frame");
    assert!(matches!(poll(&mut newer), Poll::Ready(None)));
}

#[test]
fn released_pieces_are_freed() {
    let (source, mut body) = ReplaySource::record(pieces(&[3, 4]), 64, None);
    let first = next(&mut body);
    assert!(!first.is_unique());
    source.release();
    assert!(first.is_unique());
    assert_eq!(next(&mut body).len(), 4);
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

#[test]
fn a_copy_is_the_whole_body_and_leaves_the_first_attempt_alone() {
    let (source, mut first) = ReplaySource::record(pieces(&[4, 4, 2]), 64, None);
    assert!(matches!(source.copy(), Copying::Later), "nothing was read");
    assert_eq!(next(&mut first).len(), 4);
    assert!(matches!(source.copy(), Copying::Later), "it is being read");
    assert_eq!(next(&mut first).len(), 4);
    assert_eq!(next(&mut first).len(), 2);
    assert!(matches!(poll(&mut first), Poll::Ready(None)));

    let Copying::Copied(mut copy) = source.copy() else {
        panic!("it was read whole")
    };
    let Copying::Copied(mut other) = source.copy() else {
        panic!("it can be copied again")
    };
    assert!(!copy.is_end_stream(), "as the first one");
    for (size, read) in [(4, 6), (4, 2), (2, 0)] {
        assert_eq!(next(&mut copy).len(), size);
        assert_eq!(copy.is_end_stream(), read == 0);
    }
    assert!(matches!(poll(&mut copy), Poll::Ready(None)));
    assert_eq!(next(&mut other).len(), 4);
    // The layer may still send it again.
    assert!(source.supersede(Ending::Answered));
    assert_eq!(next(&mut source.rewind()).len(), 4);
    assert_eq!(next(&mut other).len(), 4, "a copy is of no attempt before");
}

#[test]
fn a_copy_has_the_length_of_the_first_attempt() {
    let body = Full::new(Bytes::from_static(b"0123456789"));
    let (source, mut first) = ReplaySource::record(body, 4, None);
    next(&mut first);
    let Copying::Copied(mut copy) = source.copy() else {
        panic!("one frame of bytes is kept whatever its size")
    };
    assert_eq!(copy.size_hint().exact(), Some(10));
    assert_eq!(next(&mut copy), "0123456789");
    assert_eq!(copy.size_hint().exact(), Some(0));
}

#[test]
fn what_is_not_kept_is_not_copied() {
    let (source, mut first) = ReplaySource::record(pieces(&[4, 4]), 6, None);
    next(&mut first);
    next(&mut first);
    assert!(matches!(poll(&mut first), Poll::Ready(None)));
    assert!(matches!(source.copy(), Copying::Never));
}

#[test]
fn a_body_knows_what_copies_of_it_can_be_made_of() {
    let none = http::Extensions::new();
    let (_, recorded) = ReplaySource::record(pieces(&[4]), 64, None);
    assert!(matches!(
        ReplaySource::of(&recorded, &none),
        Some(ReplaySource::Recorded(_))
    ));
    let full = || Full::new(Bytes::from_static(b"rows"));
    let passing = ReplayBody::passing(full());
    assert!(ReplaySource::of(&passing, &none).is_none());
    let mut with_factory = http::Extensions::new();
    with_factory.insert(BodyFactory::new(full));
    let Some(source) = ReplaySource::of(&passing, &with_factory) else {
        panic!("it can be made anew")
    };
    let Copying::Copied(mut copy) = source.copy() else {
        panic!("at any time")
    };
    assert_eq!(next(&mut copy), "rows");
}

/// A body of pieces that knows its length, and, if it is told to, its end with the last of them.
struct Known {
    pieces: std::vec::IntoIter<usize>,
    tells_end: bool,
}

impl Known {
    fn left(&self) -> usize {
        self.pieces.as_slice().iter().sum()
    }
}

impl Body for Known {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        Poll::Ready(piece.map(|size| Ok(Frame::data(Bytes::from(vec![b'x'; size])))))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.left()).unwrap())
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The attempt of this number, counted from the newest, reads.
    Read(usize),
    /// Another attempt follows, if it may.
    Next(Ending),
    /// The call is over.
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2_usize).prop_map(Step::Read),
        2 => Just(Step::Next(Ending::Failed)),
        1 => Just(Step::Next(Ending::Answered)),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #[test]
    fn no_attempt_ends_a_body_that_it_has_not_sent_whole(
        pieces in proptest::collection::vec(0..6_usize, 1..6),
        limit in 0..20_usize,
        tells_end in any::<bool>(),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let whole: usize = pieces.iter().sum();
        let body = Known { pieces: pieces.into_iter(), tells_end };
        let (source, first) = ReplaySource::record(body, limit, None);
        // Each with what it has sent.
        let mut attempts = vec![(first, 0)];
        for step in steps {
            match step {
                Step::Release => source.release(),
                Step::Next(ending) => {
                    let can = source.is_replayable(ending);
                    prop_assert_eq!(source.supersede(ending), can);
                    if can {
                        attempts.push((source.rewind(), 0));
                    }
                }
                Step::Read(back) => {
                    let newest = attempts.len() - 1;
                    let Some((attempt, sent)) = attempts.get_mut(newest.wrapping_sub(back)) else {
                        continue;
                    };
                    match poll(attempt) {
                        Poll::Pending => prop_assert!(false, "nothing to wait for"),
                        Poll::Ready(None) => prop_assert_eq!(*sent, whole),
                        Poll::Ready(Some(Ok(frame))) => {
                            prop_assert_eq!(back, 0, "the newest alone reads");
                            *sent += frame.into_data().unwrap().len();
                        }
                        Poll::Ready(Some(Err(error))) => {
                            prop_assert!(back > 0 && error.is_superseded(), "{error}");
                        }
                    }
                    if attempt.is_end_stream() {
                        prop_assert_eq!(*sent, whole);
                    }
                    let left = attempt.size_hint().exact().unwrap();
                    prop_assert!(left >= u64::try_from(whole - *sent).unwrap());
                    if back == 0 {
                        prop_assert_eq!(left, u64::try_from(whole - *sent).unwrap());
                    }
                }
            }
        }
    }
}
