//! `facelink play`: a take, over any of the wires, as if it were live.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use facelink::{
    event::LinkEvent,
    source::PhonePort,
    take::{Played, SPEEDS, TakeContent, TakeInfo, TakePlayer, TakeReader},
};

use crate::{
    address::resolve,
    error::Error,
    send::{Sender, Target},
    stop::stop_signal,
    take::{named, open, read_error, time},
};

/// After a stall (a laptop's lid) that is longer, playing goes on from where it was instead of catching up.
const MAX_STALL: Duration = Duration::from_millis(250);
/// Senders of datagrams that are played at once.
const MAX_SENDERS: usize = 64;
/// Frame numbers that jump further than this began another count.
const MAX_GAP: u64 = 1000;

/// Play a take (MCAP) over any wire and as any app, as if its faces were live.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The take.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// How many times as fast as it was recorded, from 0.1 to 4.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Play it again and again.
    #[arg(long = "loop")]
    looped: bool,
    /// Begin at this time of the take: seconds, or H:MM:SS.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Duration>,
    /// End at this time of the take.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Duration>,
    /// Play this subject, under another name if one is given; may be repeated [default: all, under their own].
    #[arg(long = "subject", value_name = "NAME[=ALIAS]", value_parser = named)]
    subjects: Vec<(String, String)>,
    /// Send the datagrams that `record --raw` kept, byte for byte, to the ports that they came to: what was received is received
    /// once more. With a port in --to, all of them go there.
    #[arg(long, conflicts_with_all = ["subjects", "looped", "app", "via", "delta"])]
    raw: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if SPEEDS.contains(&speed) => Ok(speed),
        _ => Err("expected a number from 0.1 to 4".to_owned()),
    }
}

/// The subjects to play, each with the name that it is sent under.
fn chosen(args: &Args, info: &TakeInfo) -> Result<Vec<(String, String)>, Error> {
    let there: Vec<_> = info.subjects.iter().map(|subject| subject.name.to_string()).collect();
    let file = args.file.display();
    if let Some((name, _)) = args.subjects.iter().find(|(name, _)| !there.contains(name)) {
        return Err(Error::Plain(format!("{file}: no subject `{name}`; there are: {}", there.join(", "))));
    }
    let chosen = match args.subjects.is_empty() {
        true => there.into_iter().map(|name| (name.clone(), name)).collect(),
        false => args.subjects.clone(),
    };
    if chosen.is_empty() { Err(Error::Plain(format!("{file}: no face was recorded"))) } else { Ok(chosen) }
}

pub fn run(args: &Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let mut reader = open(&args.file)?;
    if args.raw {
        return packets(args, reader, &stop);
    }
    let info = reader.info().map_err(|error| read_error(&args.file, &error))?;
    if args.from.zip(args.until).is_some_and(|(from, until)| from >= until) || args.from >= Some(info.duration) {
        return Err(Error::Plain("nothing of the take lies between --from and --until".to_owned()));
    }
    let subjects = chosen(args, &info)?;
    let fps = info.subjects.iter().map(|subject| subject.fps).fold(0.0, f64::max) * args.speed;
    let fps = if fps > 0.0 { fps.clamp(1.0, 240.0) } else { 60.0 };
    let names: Vec<_> = subjects.iter().map(|(_, alias)| alias.clone()).collect();
    let Some(mut sender) = args.target.open(&names, fps, &stop)? else { return Ok(()) };
    eprintln!("Playing {} to {}. Ctrl-C ends.", args.file.display(), sender.describe());

    let start = Instant::now();
    let mut player = TakePlayer::new(reader, start);
    let subjects = subjects.into_iter().map(|(name, alias)| (name.into(), alias.into())).collect();
    player.set_subjects(Some(subjects));
    player.set_looped(args.looped);
    player
        .set_range(args.from.unwrap_or_default(), args.until, start)
        .map_err(|error| read_error(&args.file, &error))?;
    player.set_speed(args.speed, start);
    let count = play(args, &mut player, &mut *sender, &stop, start)?;
    let took = start.elapsed().as_secs_f64();
    sender.finish();
    writeln!(io::stdout(), "Sent {count} frames in {took:.1} s.").map_err(Error::Output)
}

/// Sends what is due when it is due, to the end or until asked to stop. Returns the number of frames.
fn play(
    args: &Args,
    player: &mut TakePlayer<BufReader<File>>,
    sender: &mut dyn Sender,
    stop: &Receiver<()>,
    start: Instant,
) -> Result<u64, Error> {
    let failed = |error| read_error(&args.file, &error);
    let mut numbers: HashMap<Arc<str>, Numbers> = HashMap::new();
    let mut count = 0;
    while let Some(due) = player.next_at().map_err(failed)? {
        if !matches!(stop.recv_deadline(due), Err(RecvTimeoutError::Timeout)) {
            break;
        }
        let now = Instant::now();
        if now.saturating_duration_since(due) > MAX_STALL {
            player.pause(due);
            player.resume(now);
        }
        while let Some(played) = player.poll(now).map_err(failed)? {
            match played {
                // A frame that arrived late is late for the receiver too.
                Played::Frame(frame) if !frame.late => {
                    let mut face = frame.frame;
                    face.sequence = Some(numbers.entry(frame.name.clone()).or_default().next(face.sequence));
                    face.capture_time = Some(due.saturating_duration_since(start));
                    sender.send(&frame.name, face)?;
                    count += 1;
                }
                Played::Event(LinkEvent::Emotion { name, emotion, .. }) => sender.emotion(&name, &emotion),
                _ => {}
            }
        }
    }
    Ok(count)
}

/// Sends the datagrams of a take at their times. Each sender of then has a socket of its own, since receivers tell senders by that.
fn packets(args: &Args, mut reader: TakeReader<BufReader<File>>, stop: &Receiver<()>) -> Result<(), Error> {
    let failed = |error| read_error(&args.file, &error);
    let from = args.from.unwrap_or_default();
    reader.seek(from).map_err(failed)?;
    let (start, mut count) = (Instant::now(), 0_u64);
    let mut sockets: HashMap<SocketAddr, UdpSocket> = HashMap::new();
    let mut addresses: HashMap<PhonePort, SocketAddr> = HashMap::new();
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        if args.until.is_some_and(|until| entry.time >= until) {
            break;
        }
        let TakeContent::Packet(packet) = entry.content else { continue };
        let to = match addresses.get(&packet.port) {
            Some(to) => *to,
            None => {
                let to = resolve(args.target.address(), packet.port.usual())?;
                *addresses.entry(packet.port).or_insert(to)
            }
        };
        if sockets.len() >= MAX_SENDERS && !sockets.contains_key(&packet.peer) {
            continue;
        }
        let bind_error = |error| Error::Plain(format!("cannot open a socket: {error}"));
        let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = match sockets.entry(packet.peer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(UdpSocket::bind(any).map_err(bind_error)?),
        };
        let due = start + entry.time.saturating_sub(from).div_f64(args.speed);
        if !matches!(stop.recv_deadline(due), Err(RecvTimeoutError::Timeout)) {
            break;
        }
        match socket.send_to(&packet.data, to) {
            Ok(_) => count += 1,
            // On some systems the answer of a port that does not listen surfaces here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(Error::Plain(format!("cannot send to {to}: {error}"))),
        }
    }
    if addresses.is_empty() {
        let message = "it has no datagrams between these times; `facelink record --raw` keeps them";
        return Err(Error::Plain(format!("{}: {message}", args.file.display())));
    }
    let took = start.elapsed().as_secs_f64();
    writeln!(io::stdout(), "Sent {count} datagrams in {took:.1} s.").map_err(Error::Output)
}

/// Numbers of frames that count on where the recorded ones begin anew, with the gaps that they had.
#[derive(Default)]
struct Numbers {
    next: u64,
    recorded: Option<u64>,
}

impl Numbers {
    fn next(&mut self, recorded: Option<u64>) -> u64 {
        let gap = recorded.zip(self.recorded).and_then(|(now, before)| now.checked_sub(before));
        let skipped = gap.filter(|gap| (1..=MAX_GAP).contains(gap)).map_or(0, |gap| gap - 1);
        self.recorded = recorded;
        let number = self.next + skipped;
        self.next = number + 1;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn play_numbers_keep_gaps_and_go_on_over_a_turn() {
        let mut numbers = Numbers::default();
        let given = [Some(10), Some(11), Some(14), Some(0), Some(1), None, Some(3)];
        assert_eq!(given.map(|recorded| numbers.next(recorded)), [0, 1, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn play_subject_may_have_an_alias() {
        assert_eq!(named("Ann"), Ok(("Ann".to_owned(), "Ann".to_owned())));
        assert_eq!(named("Ann=Bob"), Ok(("Ann".to_owned(), "Bob".to_owned())));
        assert!(named("=Bob").is_err() && named("Ann=").is_err());
        assert!(speed("0.05").is_err() && speed("nan").is_err() && speed("4") == Ok(4.0));
    }
}
