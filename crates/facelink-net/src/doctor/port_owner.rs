//! Which program owns a port, where the system reports it: Linux, from `/proc`.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// A program that holds a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortOwner {
    /// Its process; `None` when it is another user's, which only root may see.
    pub pid: Option<u32>,
    /// Its name, as the system cuts it (15 characters on Linux).
    pub program: Option<String>,
    /// Whose it is.
    pub user: Option<u32>,
}

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.program, self.user) {
            (Some(pid), ..) if pid == std::process::id() => write!(f, "this very program (process {pid})"),
            (Some(pid), Some(program), _) => write!(f, "`{program}` (process {pid})"),
            (Some(pid), None, _) => write!(f, "process {pid}"),
            (None, _, Some(user)) => write!(f, "a program of user {user} (root may see which)"),
            (None, ..) => f.write_str("another program"),
        }
    }
}

/// A row of a table such as `/proc/net/udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    local: SocketAddr,
    /// TCP: it listens. UDP: always.
    listens: bool,
    user: u32,
    inode: u64,
}

/// Bytes of an address as the kernel prints it: words of 32 bits, each as a number of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (place, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(8 * place)?);
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

fn row(line: &str, tcp: bool) -> Option<Row> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = columns.get(1)?.split_once(':')?;
    Some(Row {
        local: SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?),
        // The kernel's TCP_LISTEN.
        listens: !tcp || columns.get(3) == Some(&"0A"),
        user: columns.get(7)?.parse().ok()?,
        inode: columns.get(9)?.parse().ok()?,
    })
}

/// Sockets of a table that conflict with binding `wanted`.
fn conflicting(table: &str, tcp: bool, wanted: SocketAddr) -> Vec<Row> {
    let same = |ip: IpAddr| ip.is_unspecified() || wanted.ip().is_unspecified() || ip == wanted.ip().to_canonical();
    let rows = table.lines().skip(1).filter_map(|line| row(line, tcp));
    rows.filter(|row| row.listens && row.local.port() == wanted.port() && same(row.local.ip())).collect()
}

/// Processes by number.
fn processes(proc: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process's name, without what could move a terminal's cursor.
fn name(proc: &Path, pid: u32) -> Option<String> {
    let name = fs::read(proc.join(pid.to_string()).join("comm")).ok()?;
    let name: String = String::from_utf8_lossy(&name).trim_end().chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

/// Names of everything that runs and may be seen; none but on Linux.
pub(super) fn running() -> Vec<String> {
    let proc = Path::new("/proc");
    processes(proc).filter_map(|pid| name(proc, pid)).collect()
}

fn owner_in(proc: &Path, tcp: bool, wanted: SocketAddr) -> Option<PortOwner> {
    let tables: &[&str] = if tcp { &["tcp", "tcp6"] } else { &["udp", "udp6"] };
    let rows: Vec<Row> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(proc.join("net").join(table)).ok())
        .flat_map(|table| conflicting(&table, tcp, wanted))
        .collect();
    let first = rows.first()?;
    for pid in processes(proc) {
        // Those of others may not be looked into.
        let files = fs::read_dir(proc.join(pid.to_string()).join("fd")).into_iter().flatten().flatten();
        for link in files.filter_map(|file| fs::read_link(file.path()).ok()) {
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(row) = rows.iter().find(|row| Some(row.inode) == inode) {
                return Some(PortOwner { pid: Some(pid), program: name(proc, pid), user: Some(row.user) });
            }
        }
    }
    Some(PortOwner { user: Some(first.user), ..PortOwner::default() })
}

/// The program whose socket conflicts with listening there. `None` without a conflict, or where the system does not report
/// it: only Linux does, and for programs of other users it reports the user alone.
pub fn port_owner(tcp: bool, address: SocketAddr) -> Option<PortOwner> {
    owner_in(Path::new("/proc"), tcp, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  527: 0100007F:2B67 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 1602452 2 0000000082d10d4a 0
  784: 00000000:C33F 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1602406 2 000000009e39794e 0
  785: 0501A8C0:2B67 00000000:0000 07 00000000:00000000 00:00000000 00000000  1001        0 1602407 2 000000009e39794e 0
broken
";
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    1: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1000 0 77 2 0 0
    2: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1000 0 78 2 0 0
    3: 0000000000000000FFFF00000100007F:1F92 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000  1000 0 79 2 0 0
";
    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:223D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:C001 0100007F:223D 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20 4 30 10 -1
   2: 0100007F:223E 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0 20 4 30 10 -1
";

    #[cfg(target_endian = "little")]
    #[test]
    fn port_owner_conflicting_sockets_in_the_tables() {
        let inodes = |table, tcp, wanted: &str| -> Vec<u64> {
            conflicting(table, tcp, wanted.parse().unwrap()).iter().map(|row| row.inode).collect()
        };
        assert_eq!(inodes(UDP, false, "127.0.0.1:11111"), [1602452]);
        assert_eq!(inodes(UDP, false, "192.168.1.5:11111"), [1602407]);
        assert_eq!(inodes(UDP, false, "0.0.0.0:11111"), [1602452, 1602407]);
        assert_eq!(inodes(UDP, false, "10.0.0.1:49983"), [1602406], "bound to every address");
        assert!(inodes(UDP, false, "127.0.0.1:11112").is_empty());
        assert_eq!(inodes(UDP6, false, "127.0.0.1:8080"), [77]);
        assert_eq!(inodes(UDP6, false, "[::1]:8081"), [78]);
        assert!(inodes(UDP6, false, "127.0.0.1:8081").is_empty());
        assert_eq!(inodes(UDP6, false, "127.0.0.1:8082"), [79], "IPv4 in the clothes of IPv6");
        assert_eq!(inodes(TCP, true, "127.0.0.1:8765"), [11]);
        assert!(inodes(TCP, true, "127.0.0.1:8766").is_empty(), "a connection does not conflict");
    }

    #[test]
    fn port_owner_broken_table_names_no_process() {
        for table in
            ["", "\n", "head\n1: zz:zz\n", "head\n 1: 0100007F:2B67 x 07", "head\n 1: é:2B67 é é é é é é é é é"]
        {
            assert!(conflicting(table, false, "0.0.0.0:11111".parse().unwrap()).is_empty(), "{table:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn port_owner_this_process() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for (is_tcp, address) in [(false, udp.local_addr().unwrap()), (true, tcp.local_addr().unwrap())] {
            let owner = port_owner(is_tcp, address).unwrap();
            assert_eq!(owner.pid, Some(std::process::id()), "{owner:?}");
            assert!(owner.program.is_some() && owner.user.is_some(), "{owner:?}");
            assert!(owner.to_string().contains("this very program"), "{owner}");
        }
        // Both protocols have numbers of their own.
        let tcp = tcp.local_addr().unwrap();
        assert!(port_owner(false, tcp).is_none_or(|owner| owner.pid != Some(std::process::id())));
        assert!(running().len() > 1);
    }

    #[test]
    fn port_owner_in_words() {
        let owner = |pid, program: Option<&str>, user| PortOwner { pid, program: program.map(str::to_owned), user };
        assert_eq!(owner(Some(1), Some("init"), Some(0)).to_string(), "`init` (process 1)");
        assert_eq!(owner(None, None, Some(1000)).to_string(), "a program of user 1000 (root may see which)");
        assert_eq!(PortOwner::default().to_string(), "another program");
    }
}
