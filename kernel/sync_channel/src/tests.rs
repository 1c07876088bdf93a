//! Tests with threads in the place of tasks.

use super::*;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

#[test]
fn values_come_out_in_the_order_they_went_in() {
    let (sender, receiver) = new_channel(4);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for value in 0..2_000u32 {
                sender.send(value).unwrap();
            }
        });
        for value in 0..2_000 {
            assert_eq!(receiver.receive(), Ok(value));
        }
        assert_eq!(receiver.receive(), Err(Error::ChannelDisconnected));
    });
}

#[test]
fn many_senders_and_receivers_exchange_everything_once() {
    let (sender, receiver) = new_channel(3);
    let seen = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for number in 0..4u32 {
            let sender = sender.clone();
            scope.spawn(move || {
                for value in 0..2_000 {
                    sender.send(number * 2_000 + value).unwrap();
                }
            });
        }
        drop(sender);
        for _ in 0..3 {
            let (receiver, seen) = (receiver.clone(), &seen);
            scope.spawn(move || {
                while let Ok(value) = receiver.receive() {
                    assert!(seen.lock().unwrap().insert(value), "{value} came twice");
                }
            });
        }
    });
    assert_eq!(seen.lock().unwrap().len(), 8_000);
}

#[test]
fn a_full_channel_refuses_and_gives_back() {
    let (sender, receiver) = new_channel(2);
    assert_eq!(sender.try_send("a"), Ok(()));
    assert_eq!(sender.try_send("b"), Ok(()));
    assert_eq!(sender.try_send("c"), Err(("c", Error::WouldBlock)));
    assert_eq!(receiver.try_receive(), Ok("a"));
    assert_eq!(sender.try_send("c"), Ok(()));
    assert_eq!(receiver.try_receive(), Ok("b"));
    assert_eq!(receiver.try_receive(), Ok("c"));
    assert_eq!(receiver.try_receive(), Err(Error::WouldBlock));
}

#[test]
fn a_capacity_of_zero_means_one() {
    let (sender, receiver) = new_channel(0);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err((2, Error::WouldBlock)));
    assert_eq!(receiver.receive(), Ok(1));
}

#[test]
fn senders_notice_that_receivers_are_gone() {
    let (sender, receiver) = new_channel(1);
    sender.send(1).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sender.send(2));
        std::thread::sleep(Duration::from_millis(10));
        drop(receiver);
        assert_eq!(waiting.join().unwrap(), Err(Error::ChannelDisconnected));
    });
    assert_eq!(sender.try_send(3), Err((3, Error::ChannelDisconnected)));
}

#[test]
fn receivers_drain_a_disconnected_channel() {
    let (sender, receiver) = new_channel(2);
    let second = receiver.clone();
    sender.send(1).unwrap();
    std::thread::scope(|scope| {
        drop(sender);
        assert_eq!(receiver.receive(), Ok(1));
        assert!(receiver.is_disconnected());
        assert_eq!(scope.spawn(move || second.receive()).join().unwrap(), Err(Error::ChannelDisconnected));
    });
}

#[test]
fn bytes_travel_in_batches() {
    let (sender, receiver) = new_channel::<u8>(7);
    let text: Vec<u8> = (0..1_000u32).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| {
        let text = &text;
        scope.spawn(move || sender.send_all(text).unwrap());
        let mut received: Vec<u8> = Vec::new();
        let mut buffer = [0; 16];
        while let Ok(count) = receiver.receive_buf(&mut buffer) {
            assert!((1..=7).contains(&count));
            received.extend(&buffer[..count]);
        }
        assert_eq!(&received, text);
    });
    let (sender, receiver) = new_channel::<u8>(1);
    assert_eq!(sender.send_buf(&[]), Ok(0));
    assert_eq!(receiver.receive_buf(&mut []), Ok(0));
}

#[test]
fn values_left_behind_are_dropped_once() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = AtomicUsize::new(0);
    let (sender, receiver) = new_channel(4);
    for _ in 0..4 {
        assert!(sender.try_send(Counted(&drops)).is_ok());
    }
    drop(receiver.try_receive());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop((sender, receiver));
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}
