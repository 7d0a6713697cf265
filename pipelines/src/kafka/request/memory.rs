//! A frame never makes the reader ask for much more memory than the frame has bytes, whatever counts it claims.

use super::fixture::samples;
use super::walk::ELEMENTS_MAX;
use super::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

/// Counts for the whole process: a test that asks it must be alone there, as the test runner has it.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// All that reading a frame asked for, first to last, freed or not.
fn asked_for(frame: Bytes) -> usize {
    let region = Region::new(ALLOCATOR);
    let read = decode(frame);
    let bytes = region.change().bytes_allocated;
    drop(read);
    bytes
}

#[track_caller]
fn check(frame: Bytes) {
    let (length, bytes) = (frame.len(), asked_for(frame));
    assert!(bytes <= 16 * length + (64 << 10), "{bytes} bytes for a frame of {length}");
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// One test: the counter is the whole process's.
#[test]
fn memory_is_in_proportion_to_the_frame() {
    for sample in samples() {
        let frame = sample.frame;
        check(frame.clone());
        for at in 0..frame.len() {
            check(frame.slice(..at));
            for value in [i32::MAX, 0x00ff_ffff, 0x0000_ffff] {
                let mut damaged = frame.to_vec();
                let end = frame.len().min(at + 4);
                damaged[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
                check(damaged.into());
            }
            for value in
                [&[0xff, 0xff, 0xff, 0xff, 0x07][..], &[0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0x03], &[0xff; 9]]
            {
                let after = (at + 1..frame.len()).find(|after| frame[after - 1] < 0x80).unwrap_or(frame.len());
                check([&frame[..at], value, &frame[after..]].concat().into());
            }
        }
    }

    // the densest frames there are: as many of the smallest elements as may be, in front of records
    let produce = |topics: usize, records: usize| {
        let mut frame = b"\x00\x00\x00\x09\x00\x00\x00\x01\xff\xff\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
        varint(topics + 2, &mut frame);
        frame.extend(std::iter::repeat_n([1, 1, 0], topics).flatten());
        frame.extend(b"\x01\x02\x00\x00\x00\x00");
        varint(records + 1, &mut frame);
        frame.resize(frame.len() + records, 0);
        frame.extend([0, 0, 0]);
        Bytes::from(frame)
    };
    let few = produce(1, 6 << 20);
    assert!(decode(few.clone()).is_ok());
    let bytes = asked_for(few);
    assert!(bytes < 4 << 10, "{bytes} bytes: records are not copied");
    let many = produce(ELEMENTS_MAX - 2, 0);
    assert!(decode(many.clone()).is_ok());
    let bytes = asked_for(many);
    assert!(bytes < 8 << 20, "{bytes} bytes");
    let too_many = produce(2_000_000, 0);
    let bytes = asked_for(too_many);
    assert!(bytes < 4 << 10, "{bytes} bytes");
}
