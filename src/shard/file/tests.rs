//! A viewer of a file, told the time.

use super::*;
use crate::media::library::{Answer, Library};
use crate::media::memory::{MemoryLibrary, Presentation, asked};

/// A file that is played, and the library that answers at once.
struct Player {
    library: MemoryLibrary,
    file: FilePlayback,
}

impl Player {
    /// Begins at the start of a file of 2 s with keyframes every 0.4 s.
    fn begin(plays: Option<u32>, scale: f64, has_b_frames: bool) -> Player {
        let library = MemoryLibrary::new(1_400);
        let duration = Duration::from_secs(2);
        let presentation = Presentation {
            duration,
            has_b_frames,
            gop_frames: 10,
            has_sound: false,
            ..Presentation::default()
        };
        library.add("film", presentation);
        let Answer::Described(_, Ok(info)) = asked(|reply| library.describe("/film", &[], 1, reply)) else {
            panic!("described")
        };
        let mut player = Player { library, file: FilePlayback::new(info, plays) };
        let first = player.read(Wanted::Seek(MediaTime::ZERO));
        player.file.begin(Time::ZERO, MediaTime::ZERO, first, Pace { scale, speed: 1.0 }, Way::Datagrams);
        player
    }

    fn read(&self, wanted: Wanted) -> Arc<Segment> {
        let answer = asked(|reply| self.library.segment(&self.file.info, wanted, 2, reply));
        let Answer::Segment(_, Ok(segment)) = answer else { panic!("a segment") };
        segment
    }

    /// Takes everything that is due up to a time, reading ahead; returns how many batches.
    fn play_to(&mut self, now: Time) -> usize {
        let mut count = 0;
        loop {
            while let Some((wanted, is_rewound)) = self.file.wanted(now, false) {
                let segment = self.read(wanted);
                self.file.push(segment, is_rewound);
            }
            match self.file.peek(now) {
                Next::Due(_) => self.file.advance(),
                Next::Starved => continue,
                Next::At(_) | Next::Finished(_) => return count,
            }
            count += 1;
        }
    }
}

#[test]
fn reading_ahead_into_another_play_counts_no_play() {
    let mut player = Player::begin(Some(2), 1.0, false);
    player.play_to(Time::from_millis(1_900));
    assert_eq!(player.file.plays_left, Some(1));
    player.play_to(Time::from_millis(2_100));
    assert_eq!(player.file.plays_left, Some(0));
    assert_eq!(player.file.content_at(Time::from_millis(2_100)), MediaTime(100_000_000));
}

#[test]
fn where_memory_is_short_the_next_segment_is_asked_for_when_it_will_soon_be_needed() {
    let mut player = Player::begin(Some(1), 1.0, false);
    let wanted = |player: &Player, milliseconds| {
        player.file.wanted(Time::from_millis(milliseconds), true).map(|(wanted, _)| wanted)
    };
    assert_eq!(wanted(&player, 0), None);
    assert!(player.file.wanted(Time::ZERO, false).is_some());
    while player.file.index + 1 < player.file.current.as_ref().unwrap().entries.len() {
        player.file.advance();
    }
    let next = wanted(&player, 0).unwrap();
    let segment = player.read(next);
    player.file.push(segment, false);
    assert_eq!(wanted(&player, 0), None);
    assert!(player.file.wanted(Time::ZERO, false).is_some());
    // Who has waited for one once asks early from then on.
    player.file.ahead.clear();
    player.file.advance();
    assert!(matches!(player.file.peek(Time::from_millis(5_000)), Next::Starved));
    let segment = player.read(next);
    player.file.push(segment, false);
    assert!(matches!(player.file.peek(Time::from_millis(5_000)), Next::Due(_)));
    assert!(wanted(&player, 0).is_some());
}

#[test]
fn what_was_sent_of_a_segment_that_nobody_else_has_is_held_no_longer() {
    let mut player = Player::begin(Some(1), 1.0, false);
    let library = player.file.current.take().unwrap();
    let (entries, first) = (library.entries.clone(), library.first.clone());
    let elsewhere = Arc::new(Segment { entries, first, ..*library });
    let holders = |index: usize| Arc::strong_count(&library.entries[index].batch);
    player.file.open(elsewhere.clone());
    player.file.advance();
    assert_eq!(holders(0), 2);
    drop(elsewhere);
    player.file.advance();
    assert_eq!((holders(0), holders(1)), (2, 1));
    assert!(matches!(player.file.peek(Time::from_millis(5_000)), Next::Due(_)));
}

#[test]
fn a_play_is_not_over_when_its_last_keyframe_was_sent() {
    let mut player = Player::begin(Some(2), 8.0, false);
    assert_eq!(player.play_to(Time::from_millis(220)), 5);
    assert_eq!(player.file.pause(Time::from_millis(220)), MediaTime(1_760_000_000));
}

#[test]
fn between_two_segments_the_next_one_says_what_is_due() {
    let mut player = Player::begin(Some(1), 1.0, true);
    let first = player.read(Wanted::Seek(MediaTime::ZERO));
    for _ in &first.entries {
        player.file.advance();
    }
    let next = player.read(Wanted::At(first.next.unwrap()));
    assert!(next.entries[0].due < first.end);
    player.file.push(next.clone(), false);
    let resumed = player.file.resume(Time::from_millis(400), Pace { scale: 1.0, speed: 2.0 });
    assert_eq!(resumed, next.entries[0].due);
}

#[test]
fn nothing_is_reached_behind_the_end() {
    let mut player = Player::begin(Some(1), 1.0, false);
    assert_eq!(player.play_to(Time::from_millis(2_300)), 50);
    assert_eq!(player.file.reached(Time::from_millis(2_300)), MediaTime(2_000_000_000));
}
