//! Bodies through their front door: codings, limits, waiting, breaking off.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
const PACE: Pace = Pace { idle: Duration::from_secs(5), total: Duration::from_secs(50), rate: 0 };
const ROOMY: Limits = Limits { body_bytes: 64 << 20, ratio: 100, pace: PACE };

/// A body of the given chunks; then its end, an error, or silence.
struct Chunks(VecDeque<Bytes>, Then);

#[derive(Clone, Copy)]
enum Then {
    End,
    Fail,
    Silence,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match (self.0.pop_front(), self.1) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            (None, Then::End) => Poll::Ready(None),
            (None, Then::Fail) => Poll::Ready(Some(Err(std::io::Error::other("canary")))),
            (None, Then::Silence) => Poll::Pending,
        }
    }
}

fn chunks(bytes: &[u8], size: usize) -> Chunks {
    Chunks(bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect(), Then::End)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(future)
}

async fn read(mut reader: Reader) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    assert_eq!(reader.next().await, Ok(None), "the end stays the end");
    Ok(all)
}

fn decode(bytes: &[u8], size: usize, codings: &[Coding], limits: Limits) -> Result<Vec<u8>, BodyError> {
    run(read(Reader::new(chunks(bytes, size), codings, limits)))
}

async fn collect(outgoing: Outgoing) -> Vec<u8> {
    outgoing.collect().await.unwrap().to_bytes().to_vec()
}

fn encode(bytes: &[u8], coding: Coding) -> Vec<u8> {
    run(collect(Outgoing::full(Bytes::copy_from_slice(bytes)).coded(coding)))
}

fn sample(len: usize) -> Vec<u8> {
    let mut state = 7u32;
    (0..len)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if i % 3 == 0 { b"{\"id\": 12}"[i % 10] } else { b'a' + (state >> 28) as u8 }
        })
        .collect()
}

#[test]
fn a_body_without_coding_is_handed_on_as_it_came() {
    let chunk = Bytes::from(vec![b'x'; 4096]);
    let mut reader = Reader::new(Chunks([Bytes::new(), chunk.clone()].into(), Then::End), &[], ROOMY);
    let got = run(reader.next()).unwrap().unwrap();
    assert_eq!((got.as_ptr(), got.len()), (chunk.as_ptr(), chunk.len()), "the very same bytes");
    assert!(reader.timer.is_none(), "no timer for a body that flows");
    assert_eq!(reader.received(), 4096);
}

#[test]
fn every_coding_and_every_pair_comes_back_whole() {
    for len in [1, 100, 20_000, 300_000] {
        let plain = sample(len);
        for outer in ALL {
            let once = encode(&plain, outer);
            assert_eq!(decode(&once, 1000, &[outer], ROOMY).as_deref(), Ok(&plain[..]), "{outer:?} {len}");
            for inner in ALL {
                let twice = encode(&encode(&plain, inner), outer);
                assert_eq!(
                    decode(&twice, 777, &[inner, outer], ROOMY).as_deref(),
                    Ok(&plain[..]),
                    "{inner:?} {outer:?}"
                );
            }
        }
    }
}

#[test]
fn a_small_whole_body_keeps_a_length_when_coded_and_an_empty_one_stays_empty() {
    let coded = Outgoing::full(Bytes::from_static(b"abc")).coded(Coding::Gzip);
    assert!(coded.size_hint().exact().is_some_and(|len| len > 3));
    let empty = Outgoing::empty().coded(Coding::Gzip);
    assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
    assert_eq!(Outgoing::full(Bytes::from_static(b"abc")).size_hint().exact(), Some(3));
    assert!(Outgoing::full(Bytes::new()).is_end_stream());
}

#[test]
fn a_body_over_the_limit_is_refused_before_and_after_decoding() {
    let limits = Limits { body_bytes: 1000, ..ROOMY };
    assert_eq!(decode(&sample(1000), 10, &[], limits).map(|b| b.len()), Ok(1000));
    assert_eq!(decode(&sample(1001), 10, &[], limits), Err(BodyError::TooLarge));
    for coding in ALL {
        assert_eq!(decode(&encode(&sample(1000), coding), 50, &[coding], limits).map(|b| b.len()), Ok(1000));
        assert_eq!(decode(&encode(&sample(1001), coding), 50, &[coding], limits), Err(BodyError::TooLarge));
    }
}

#[test]
fn a_length_over_the_limit_is_refused_without_reading() {
    let body = http_body_util::Full::new(Bytes::from(vec![0; 1001]));
    let mut reader = Reader::new(body, &[], Limits { body_bytes: 1000, ..ROOMY });
    assert_eq!(run(reader.next()), Err(BodyError::TooLarge));
    assert_eq!(reader.received(), 0);
    assert_eq!(run(reader.next()), Err(BodyError::TooLarge), "an error stays");
}

/// A gibibyte of zeros in gzip (about 1 MiB), made in pieces.
fn bomb() -> Vec<u8> {
    run(async {
        let (mut writer, outgoing) = Outgoing::stream();
        let zeros = Bytes::from(vec![0; 4 << 20]);
        let (coded, ()) = tokio::join!(collect(outgoing.coded(Coding::Zstd)), async {
            for _ in 0..256 {
                writer.write(zeros.clone()).await.unwrap();
            }
            writer.finish().await.unwrap();
        });
        coded
    })
}

#[test]
fn bombs_are_stopped_by_ratio_and_by_size() {
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let unlimited = Limits { body_bytes: u64::MAX, ..ROOMY };
    let mut reader = Reader::new(chunks(&bomb, 16 << 10), &[Coding::Zstd], unlimited);
    let mut out = 0;
    let error = run(async {
        loop {
            match reader.next().await {
                Ok(chunk) => out += chunk.unwrap().len(),
                Err(error) => break error,
            }
        }
    });
    assert_eq!(error, BodyError::TooLarge);
    assert!(out <= 100 * (16 << 10), "{out} bytes came out before it was stopped");

    let limits = Limits { body_bytes: 10 << 20, ratio: u32::MAX, ..ROOMY };
    for coding in ALL {
        let zeros = encode(&vec![0; 11 << 20], coding);
        assert_eq!(decode(&zeros, 1 << 20, &[coding], limits), Err(BodyError::TooLarge), "{coding:?}");
        let twice = encode(&zeros, Coding::Gzip);
        assert_eq!(decode(&twice, 1 << 20, &[coding, Coding::Gzip], limits), Err(BodyError::TooLarge), "{coding:?}");
    }
}

#[test]
fn a_short_text_may_pack_better_than_the_ratio() {
    for coding in ALL {
        let plain = vec![b' '; 64 * 1024];
        assert_eq!(decode(&encode(&plain, coding), 100, &[coding], ROOMY), Ok(plain));
    }
}

#[test]
fn a_truncated_coding_is_not_taken_for_the_whole() {
    let plain = sample(5000);
    for coding in ALL {
        let coded = encode(&plain, coding);
        for cut in [1, 2, 5, coded.len() / 2, coded.len() - 5, coded.len() - 1] {
            assert_eq!(decode(&coded[..cut], 64, &[coding], ROOMY), Err(BodyError::Coding), "{coding:?} cut at {cut}");
        }
        assert_eq!(decode(b"", 1, &[coding], ROOMY), Ok(vec![]), "nothing at all is empty");
        assert_eq!(decode(b"{\"not\": \"coded\"}", 4, &[coding], ROOMY), Err(BodyError::Coding));
    }
    let inner_cut = encode(&encode(&plain, Coding::Gzip)[..100], Coding::Brotli);
    assert_eq!(decode(&inner_cut, 64, &[Coding::Gzip, Coding::Brotli], ROOMY), Err(BodyError::Coding));
}

#[test]
fn bytes_after_the_coded_stream_are_refused() {
    for coding in ALL {
        for tail in [&b"x"[..], b"\0", b"{}", b"\x1f\x8b"] {
            let mut coded = encode(b"hello", coding);
            coded.extend_from_slice(tail);
            assert_eq!(decode(&coded, 3, &[coding], ROOMY), Err(BodyError::Coding), "{coding:?} {tail:?}");
            assert_eq!(decode(&coded, 9999, &[coding], ROOMY), Err(BodyError::Coding), "{coding:?} {tail:?}");
        }
    }
}

#[test]
fn members_may_follow_each_other_where_the_coding_says_so() {
    for (coding, allowed) in
        [(Coding::Gzip, true), (Coding::Zstd, true), (Coding::Deflate, false), (Coding::Brotli, false)]
    {
        let two = [encode(b"hello, ", coding), encode(b"world", coding)].concat();
        let expected = if allowed { Ok(b"hello, world".to_vec()) } else { Err(BodyError::Coding) };
        for size in [1, 7, 9999] {
            assert_eq!(decode(&two, size, &[coding], ROOMY), expected, "{coding:?}");
        }
    }
}

#[test]
fn a_flood_of_tiny_members_is_refused() {
    let many = encode(b"a", Coding::Gzip).repeat(100);
    assert_eq!(decode(&many, 9999, &[Coding::Gzip], ROOMY), Err(BodyError::Coding));
}

#[test]
fn brotli_with_a_large_window_is_refused() {
    // An empty stream that announces a window of 2^24 bytes by the extension's header: well-formed to the decoder.
    assert_eq!(decode(&[0x11, 0xd8], 9, &[Coding::Brotli], ROOMY), Err(BodyError::Coding));
    assert_eq!(decode(&[0x11, 0xd8], 1, &[Coding::Brotli], ROOMY), Err(BodyError::Coding));
}

#[test]
fn zstd_with_a_window_over_eight_mebibytes_is_refused() {
    use async_compression::zstd::CParameter;
    run(async {
        let params = [CParameter::window_log(24)];
        let mut encoder = async_compression::tokio::write::ZstdEncoder::with_quality_and_params(
            Vec::new(),
            async_compression::Level::Default,
            &params,
        );
        use tokio::io::AsyncWriteExt as _;
        // More than one write and no known size, so that the frame has a window descriptor.
        encoder.write_all(&sample(100_000)).await.unwrap();
        encoder.flush().await.unwrap();
        encoder.shutdown().await.unwrap();
        let coded = encoder.into_inner();
        let got = read(Reader::new(chunks(&coded, 999), &[Coding::Zstd], ROOMY)).await;
        assert_eq!(got.map(|plain| plain.len()), Err(BodyError::Coding));
    });
}

#[test]
fn a_broken_connection_is_incomplete_whatever_the_coding() {
    let coded = encode(&sample(100), Coding::Gzip);
    for codings in [&[][..], &[Coding::Gzip]] {
        let body = Chunks([Bytes::copy_from_slice(&coded)].into(), Then::Fail);
        assert_eq!(run(read(Reader::new(body, codings, ROOMY))), Err(BodyError::Incomplete));
    }
}

#[test]
fn a_silent_sender_is_cut_after_the_idle_time() {
    for (codings, chunk) in [(&[][..], &b""[..]), (&[Coding::Gzip], b"\x1f\x8b")] {
        let body = Chunks([Bytes::copy_from_slice(chunk)].into(), Then::Silence);
        let limits = Limits { pace: Pace { idle: Duration::from_millis(20), ..PACE }, ..ROOMY };
        assert_eq!(run(read(Reader::new(body, codings, limits))), Err(BodyError::Slow));
    }
}

#[test]
fn each_wait_has_its_own_time() {
    run(async {
        let (mut writer, outgoing) = Outgoing::stream();
        let mut reader =
            Reader::new(outgoing, &[], Limits { pace: Pace { idle: Duration::from_millis(600), ..PACE }, ..ROOMY });
        let feed = async {
            for _ in 0..4 {
                let _ = tokio::time::timeout(Duration::from_millis(200), std::future::pending::<()>()).await;
                writer.write(Bytes::from_static(b"x")).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let take = async {
            for _ in 0..4 {
                assert!(reader.next().await.unwrap().is_some());
            }
            reader.next().await
        };
        tokio::select! {
            () = feed => unreachable!(),
            last = take => assert_eq!(last, Err(BodyError::Slow)),
        }
    });
}

#[test]
fn a_dropped_writer_breaks_the_body_off() {
    run(async {
        for coding in [None, Some(Coding::Gzip)] {
            let (mut writer, outgoing) = Outgoing::stream();
            let outgoing = coding.into_iter().fold(outgoing, Outgoing::coded);
            let (collected, ()) = tokio::join!(outgoing.collect(), async {
                writer.write(Bytes::from_static(b"part")).await.unwrap();
                drop(writer);
            });
            assert!(collected.is_err());
        }
    });
}

#[test]
fn a_writer_learns_that_its_receiver_is_gone() {
    run(async {
        let (mut writer, outgoing) = Outgoing::stream();
        drop(outgoing);
        assert_eq!(writer.write(Bytes::from_static(b"x")).await, Err(Gone));
        assert_eq!(writer.write(Bytes::new()).await, Err(Gone));
        assert_eq!(writer.finish().await, Err(Gone));

        let (mut writer, outgoing) = Outgoing::stream();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        let (finished, ()) = tokio::join!(writer.finish(), async { drop(outgoing) });
        assert_eq!(finished, Err(Gone), "taken by nobody");
    });
}

#[test]
fn at_most_one_chunk_waits() {
    run(async {
        let (mut writer, _outgoing) = Outgoing::stream();
        writer.write(Bytes::from_static(b"1")).await.unwrap();
        let mut second = Box::pin(writer.write(Bytes::from_static(b"2")));
        let waits = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "the second waits for room");
    });
}

#[test]
fn a_coded_stream_is_flushed_with_each_chunk() {
    run(async {
        for coding in ALL {
            let (mut writer, outgoing) = Outgoing::stream();
            let mut reader = Reader::new(outgoing.coded(coding), &[coding], ROOMY);
            writer.write(Bytes::from_static(b"event: 1\n")).await.unwrap();
            // The writer sends nothing more until the first has arrived whole.
            let mut got = Vec::new();
            while got.len() < 9 {
                got.extend_from_slice(&reader.next().await.unwrap().unwrap());
            }
            assert_eq!(got, b"event: 1\n", "{coding:?}");
            writer.write(Bytes::from_static(b"event: 2\n")).await.unwrap();
            let (rest, finished) = tokio::join!(read(reader), writer.finish());
            assert_eq!((rest.unwrap(), finished), (b"event: 2\n".to_vec(), Ok(())));
        }
    });
}

#[test]
fn debug_shows_no_bytes() {
    let outgoing = Outgoing::full(Bytes::from_static(b"canary"));
    let reader = Reader::new(Outgoing::full(Bytes::from_static(b"canary")), &[], ROOMY);
    let (writer, _rest) = Outgoing::stream();
    assert!(!format!("{outgoing:?} {reader:?} {writer:?}").contains("canary"));
}

fn gz(level: i32, plain: &[u8]) -> Vec<u8> {
    // Through the async front door, so that not only our own encoder is read back.
    run(async {
        use tokio::io::AsyncWriteExt as _;
        let mut encoder = async_compression::tokio::write::GzipEncoder::with_quality(
            Vec::new(),
            async_compression::Level::Precise(level),
        );
        encoder.write_all(plain).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_result_does_not_depend_on_the_chunks(
        plain in prop::collection::vec(any::<u8>(), 0..3000),
        repeat in 1usize..30,
        which in 0usize..5,
        size in 1usize..2000,
        flip in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
    ) {
        let plain = plain.repeat(repeat);
        let (codings, mut coded) = match ALL.get(which) {
            Some(coding) => (vec![*coding], encode(&plain, *coding)),
            None => (vec![Coding::Zstd, Coding::Gzip], gz(1, &encode(&plain, Coding::Zstd))),
        };
        let mut broken = false;
        if let (Some((index, bits)), false) = (flip, coded.is_empty()) {
            let at = index.index(coded.len());
            coded[at] ^= bits;
            broken = true;
        }
        let whole = decode(&coded, coded.len(), &codings, ROOMY);
        let cut = decode(&coded, size, &codings, ROOMY);
        prop_assert_eq!(&whole, &cut);
        if !broken {
            prop_assert_eq!(whole, Ok(plain));
        }
    }

    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..500), which in 0usize..4, size in 1usize..100) {
        let _ = decode(&garbage, size, &[ALL[which]], ROOMY);
    }
}

/// The pieces of a body that holds something, and what it holds.
async fn held(outgoing: Outgoing, feed: impl Future<Output = ()>) -> (Vec<Bytes>, Arc<()>) {
    let hold = Arc::new(());
    let mut body = outgoing.holding(Arc::clone(&hold) as Hold).coded(Coding::Gzip);
    let (pieces, ()) = tokio::join!(
        async {
            let mut pieces = Vec::new();
            while let Some(frame) = body.frame().await {
                pieces.push(frame.unwrap().into_data().unwrap());
            }
            pieces
        },
        feed
    );
    drop(body);
    (pieces, hold)
}

#[test]
fn what_a_body_holds_is_held_until_the_last_of_its_bytes_is_gone() {
    let check = |(mut pieces, hold): (Vec<Bytes>, Arc<()>)| {
        let last = pieces.pop().unwrap();
        drop(pieces);
        assert_eq!(Arc::strong_count(&hold), 2, "the last piece is still somewhere");
        let part = last.slice(1..);
        drop(last);
        assert_eq!(Arc::strong_count(&hold), 2, "a part of it is");
        drop(part);
        assert_eq!(Arc::strong_count(&hold), 1);
    };
    run(async {
        for size in [100, 300_000] {
            check(held(Outgoing::full(sample(size).into()), async {}).await);
        }
        let (mut writer, outgoing) = Outgoing::stream();
        let feed = async {
            for _ in 0..3 {
                writer.write(sample(1000).into()).await.unwrap();
            }
            writer.finish().await.unwrap();
        };
        check(held(outgoing, feed).await);
        let hold = Arc::new(());
        let plain = Outgoing::full(sample(10).into()).holding(Arc::clone(&hold) as Hold).collect().await.unwrap();
        assert_eq!(Arc::strong_count(&hold), 2);
        drop(plain);
        assert_eq!(Arc::strong_count(&hold), 1);
    });
}

#[test]
fn a_sender_that_drips_is_cut_by_the_rate_and_by_the_whole_time() {
    let millis = Duration::from_millis;
    for pace in [
        Pace { idle: millis(120), total: Duration::from_secs(60), rate: 1000 },
        Pace { idle: millis(120), total: millis(300), rate: 0 },
    ] {
        let read = run(async move {
            let (mut writer, outgoing) = Outgoing::stream();
            let reader = Reader::new(outgoing, &[], Limits { pace, ..ROOMY });
            let drip = async {
                // Many times as long as it may take, and never a pause as long as the idle time.
                for _ in 0..200 {
                    let _ = tokio::time::timeout(millis(20), std::future::pending::<()>()).await;
                    let _ = writer.write(Bytes::from_static(b"x")).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                read = read(reader) => read,
                () = drip => unreachable!("it waits for ever"),
            }
        });
        assert_eq!(read, Err(BodyError::Slow), "{pace:?}");
    }
}
