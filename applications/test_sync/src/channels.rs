//! Channels.

use crate::{finish, start};
use alloc::vec::Vec;
use sleep::sleep;
use sync_channel::{Error, new_channel};
use time::Duration;

pub fn channel_keeps_order() {
    const VALUES: u32 = 20_000;
    let (sender, receiver) = new_channel(8);
    let task = start(move || {
        for value in 0..VALUES {
            sender.send(value).expect("the receiver is there");
        }
    });
    for value in 0..VALUES {
        assert_eq!(receiver.receive(), Ok(value));
    }
    assert_eq!(receiver.receive(), Err(Error::ChannelDisconnected));
    finish::<()>(task);
}

pub fn channel_of_many() {
    const VALUES: u64 = 3_000;
    let (sender, receiver) = new_channel(2);
    let senders: Vec<_> = (0..3)
        .map(|number| {
            let sender = sender.clone();
            start(move || {
                for value in 0..VALUES {
                    sender.send(number * VALUES + value).expect("a receiver is there");
                }
            })
        })
        .collect();
    drop(sender);
    let receivers: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            start(move || {
                let (mut count, mut sum) = (0u64, 0u64);
                while let Ok(value) = receiver.receive() {
                    count += 1;
                    sum += value;
                }
                (count, sum)
            })
        })
        .collect();
    drop(receiver);
    senders.into_iter().for_each(finish::<()>);
    let (count, sum) = receivers
        .into_iter()
        .map(finish::<(u64, u64)>)
        .fold((0, 0), |total, one| (total.0 + one.0, total.1 + one.1));
    assert_eq!((count, sum), (3 * VALUES, 3 * VALUES * (3 * VALUES - 1) / 2));
}

pub fn channel_disconnects() {
    let (sender, receiver) = new_channel(1);
    sender.send(1).expect("there is room");
    assert_eq!(sender.try_send(2), Err((2, Error::WouldBlock)));
    let waiting = start(move || sender.send(3));
    sleep(Duration::from_millis(10)).expect("it can sleep");
    assert!(!waiting.has_exited(), "it waits for room");
    drop(receiver);
    assert_eq!(finish::<Result<(), Error>>(waiting), Err(Error::ChannelDisconnected));
}
