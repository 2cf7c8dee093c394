//! Both sides of a ring, in one process and in two.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use proptest::prelude::*;
use yarn_ml_shm::{
    Consumer, Kind, Next, Producer, Ring, RingError, anonymous_file,
    dense::{self, Bits, Column, Values},
};

const LONG: Duration = Duration::from_secs(20);

fn ring(capacity: usize) -> Arc<Ring> {
    Ring::create(anonymous_file(Path::new("/tmp")).unwrap(), capacity, 3, 1).unwrap()
}

fn batch(producer: &mut Producer, payload: &[u8]) {
    let mut reservation = producer.reserve(payload.len(), || true).unwrap();
    reservation.bytes().copy_from_slice(payload);
    reservation.publish(Kind::Batch, 9, 1);
}

fn payload(n: u64) -> Vec<u8> {
    (0..n % 5000).map(|i| (n + i) as u8).collect()
}

#[test]
fn every_frame_arrives_in_order_through_a_small_ring() {
    let ring = ring(64 << 10);
    let mut producer = Producer::new(ring.clone());
    let mut consumer = Consumer::new(ring);
    let writer = std::thread::spawn(move || {
        (0..3000).for_each(|n| batch(&mut producer, &payload(n)));
        producer.finish(|| true).unwrap();
        producer
    });
    let mut count = 0;
    loop {
        match consumer.next(LONG).unwrap() {
            Next::Frame(frame) => {
                assert_eq!((frame.header().seq, frame.bytes()), (count, payload(count).as_slice()));
                consumer.acknowledge(count);
                count += 1;
            }
            Next::End => break,
            Next::Idle => panic!("idle"),
        }
    }
    assert_eq!(count, 3000);
    let progress = writer.join().unwrap().progress();
    assert_eq!((progress.taken, progress.acknowledged), (3000, 3000));
    assert!(matches!(consumer.next(LONG), Ok(Next::End)));
}

#[test]
fn frames_are_released_in_any_order_and_the_room_follows_the_oldest() {
    let ring = ring(64 << 10);
    let mut producer = Producer::new(ring.clone());
    let mut consumer = Consumer::new(ring);
    let mut held = Vec::new();
    for _ in 0..3 {
        batch(&mut producer, &[7; 16 << 10]);
        let Next::Frame(frame) = consumer.next(LONG).unwrap() else { panic!() };
        held.push(frame);
    }
    let full = |producer: &mut Producer| producer.reserve(20 << 10, || false).is_err();
    assert!(full(&mut producer));
    held.remove(1);
    assert!(full(&mut producer), "the oldest is still held");
    assert_eq!(consumer.held(), 2);
    held.remove(0);
    assert!(!full(&mut producer));
}

#[test]
fn a_producer_that_leaves_without_an_end_is_an_error_and_no_end() {
    let ring = ring(64 << 10);
    let mut producer = Producer::new(ring.clone());
    let mut consumer = Consumer::new(ring);
    batch(&mut producer, &[1]);
    drop(producer);
    assert!(matches!(consumer.next(LONG), Ok(Next::Frame(_))), "what it published is read first");
    assert!(matches!(consumer.next(LONG), Err(RingError::ProducerGone { .. })));
}

#[test]
fn what_went_wrong_on_the_other_side_is_told() {
    let ring = ring(64 << 10);
    let mut producer = Producer::new(ring.clone());
    let mut consumer = Consumer::new(ring);
    assert!(matches!(consumer.next(Duration::ZERO), Ok(Next::Idle)));
    producer.push(Kind::Error, b"no such file", || true).unwrap();
    assert!(matches!(consumer.next(LONG), Err(RingError::Failed(text)) if text == "no such file"));
    drop(consumer);
    assert!(matches!(producer.reserve(32 << 10, || true), Err(RingError::TooLarge { .. })));
}

#[test]
fn a_file_that_is_no_ring_is_refused() {
    let file = anonymous_file(Path::new("/tmp")).unwrap();
    std::fs::File::from(file.try_clone().unwrap()).set_len(4096 + (64 << 10)).unwrap();
    assert!(matches!(Ring::open(file), Err(RingError::Corrupt { what: "the magic number", .. })));
    assert!(Ring::open(anonymous_file(Path::new("/tmp")).unwrap()).is_err());
}

/// The test binary again, as a process that produces without end.
#[test]
fn a_killed_producer_is_noticed_and_nothing_torn_is_seen() {
    if std::env::var_os("RING_PRODUCER").is_some() {
        let file = std::os::fd::OwnedFd::from(
            std::fs::File::options().read(true).write(true).open("/proc/self/fd/0").unwrap(),
        );
        let mut producer = Producer::new(Ring::open(file).unwrap());
        for n in 0.. {
            batch(&mut producer, &payload(n));
        }
    }
    let ring = ring(64 << 10);
    let stdin = std::os::fd::AsFd::as_fd(&*ring).try_clone_to_owned().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["a_killed_producer", "--nocapture"])
        .env("RING_PRODUCER", "1")
        .stdin(std::fs::File::from(stdin))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id();
    let mut consumer = Consumer::new(ring);
    let mut seen = 0;
    let gone = loop {
        match consumer.next(LONG) {
            Ok(Next::Frame(frame)) if frame.bytes() == payload(seen) => seen += 1,
            other => break other.err(),
        }
        if seen == 2000 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    };
    let _ = (child.kill(), child.wait());
    assert!(seen >= 2000, "{gone:?}");
    assert!(matches!(gone, Some(RingError::ProducerGone { pid: found }) if found == pid), "{gone:?}");
}

proptest! {
    #[test]
    fn dense_batches_read_back(rows in 1usize..40, seed in 0u8..255, nulls: bool) {
        let ring = ring(64 << 10);
        let mut producer = Producer::new(ring.clone());
        let mut consumer = Consumer::new(ring);
        let values: Vec<u8> = (0..rows * 4).map(|n| seed.wrapping_add(n as u8)).collect();
        let bitmap: Vec<u8> = (0..16).map(|n| seed.rotate_left(n)).collect();
        let bits = Bits { bytes: &bitmap, offset: 5 };
        let set = |row: usize| bitmap[(row + 5) / 8] >> ((row + 5) % 8) & 1 == 1;
        let offsets: Vec<i32> = (0..=rows as i32).map(|n| 3 + 2 * n).collect();
        let text: Vec<u8> = (0..3 + 2 * rows).map(|n| n as u8).collect();
        let validity = nulls.then_some(bits);
        let columns = [
            Column { values: Values::Fixed { bytes: &values, width: 4 }, validity, nullable: true },
            Column { values: Values::Bits(bits), validity: None, nullable: false },
            Column { values: Values::Variable { offsets: &offsets, data: &text }, validity: None, nullable: false },
        ];
        dense::push(&mut producer, &columns, rows, || true).unwrap();
        let Next::Frame(frame) = consumer.next(LONG).unwrap() else { panic!() };
        let bytes = frame.bytes();
        let parts: Vec<&[u8]> = dense::buffers(bytes).unwrap().iter().map(|b| &bytes[b.offset..b.offset + b.length]).collect();
        prop_assert_eq!(parts.len(), 5);
        for row in 0..rows {
            let valid = !nulls || set(row);
            prop_assert_eq!(parts[1][row], u8::from(valid));
            let expected = if valid { &values[row * 4..row * 4 + 4] } else { &[0; 4][..] };
            prop_assert_eq!(&parts[0][row * 4..row * 4 + 4], expected);
            prop_assert_eq!(parts[2][row], u8::from(set(row)));
        }
        prop_assert_eq!(parts[4], &text[3..]);
        prop_assert_eq!(&parts[3][8 * rows..], &(2 * rows as i64).to_le_bytes()[..]);
    }

    #[test]
    fn hostile_batches_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(buffers) = dense::buffers(&bytes) {
            prop_assert!(buffers.iter().all(|b| b.offset + b.length <= bytes.len()));
        }
    }
}
