//! Processes of the lab: this very program in another role, speaking JSON lines.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::common::Res;

/// A running process; killed when dropped.
pub struct Proc {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Proc {
    /// Starts this program with `args`, in the network namespace `netns` if one is given.
    pub fn start(netns: Option<&str>, args: &[&str]) -> Res<Self> {
        let exe = std::env::current_exe()?;
        Self::start_program(netns, exe, args)
    }

    /// Starts any program that writes JSON lines.
    pub fn start_program(netns: Option<&str>, program: PathBuf, args: &[&str]) -> Res<Self> {
        let mut command = match netns {
            Some(netns) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", netns]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut child = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (sender, lines) = unbounded();
        let stdout = child.stdout.take().ok_or("no output")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && sender.send(value).is_err()
                {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn lines(&self) -> &Receiver<Value> {
        &self.lines
    }

    /// The first line with the field `key`, and its value.
    pub fn wait(&self, key: &str, limit: Duration) -> Res<Value> {
        let end = Instant::now() + limit;
        loop {
            let mut line =
                self.lines.recv_deadline(end).map_err(|_| format!("no line with `{key}` within the time limit"))?;
            if let Some(value) = line.get_mut(key) {
                return Ok(value.take());
            }
        }
    }

    pub fn command(&mut self, command: &str) -> Res<()> {
        let stdin = self.stdin.as_mut().ok_or("it has been told to end")?;
        writeln!(stdin, "{command}")?;
        Ok(stdin.flush()?)
    }

    pub fn signal(&self, signal: Signal) -> Res<()> {
        let pid = Pid::from_raw(self.pid() as i32).ok_or("no such process")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it and waits for that.
    pub fn quit(&mut self, limit: Duration) -> Res<()> {
        self.stdin = None;
        let end = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("a process did not end within the time limit".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Processor time so far, microseconds, over all its threads.
    pub fn cpu_us(&self) -> f64 {
        self.cpu_us_of(|_| true)
    }

    /// The same without the thread that it began with.
    pub fn background_cpu_us(&self) -> f64 {
        let first = self.pid().to_string();
        self.cpu_us_of(|thread| *thread != *first)
    }

    fn cpu_us_of(&self, counts: impl Fn(&str) -> bool) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let tasks = tasks.into_iter().flatten().flatten().filter(|task| task.file_name().to_str().is_some_and(&counts));
        let times = tasks.filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        times.sum::<f64>() / 1000.0
    }

    /// Resident memory, KiB.
    pub fn rss_kib(&self) -> u64 {
        status_of(&self.pid().to_string(), "VmRSS:").unwrap_or(0)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A number of `/proc/<pid>/status`.
pub fn status_of(pid: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}
