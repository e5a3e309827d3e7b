//! The far side: an upstream that sends any bytes at any time, and keeps all that it was sent.
//!
//! Start at [`Far::says`].

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::reading::{self, End, Message};

/// What it does with a connection.
#[derive(Clone, Debug)]
pub enum Says {
    /// Answers each request with this.
    Each(Vec<u8>),
    /// Answers the first request with this, and closes.
    Once(Vec<u8>),
    /// Says this as soon as it has a connection, and then answers nothing.
    Early(Vec<u8>),
    /// Says this when a head is there, without waiting for the body; then the connection is closed if so said.
    AtHead(Vec<u8>, bool),
    /// Answers requests with these, one after the other over all connections, and closes behind each.
    Turns(Vec<Vec<u8>>),
}

#[derive(Default)]
struct Inner {
    says: Option<Says>,
    /// The bytes of each connection; of one that was in the middle of something when they were last asked for, none.
    heard: Vec<Option<Vec<u8>>>,
}

/// One that runs as long as the process.
#[derive(Clone)]
pub struct Far {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl Far {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = Self { address: listener.local_addr().unwrap(), inner: Arc::default() };
        let accepting = far.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = accepting.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        far
    }

    /// What it does from now on; what it heard before is forgotten.
    pub fn says(&self, says: Says) {
        let mut inner = self.inner.lock().unwrap();
        inner.says = Some(says);
        for heard in &mut inner.heard {
            heard.take_if(|bytes| reading::requests(bytes).end == End::Cut);
            heard.iter_mut().for_each(Vec::clear);
        }
    }

    /// The requests that it was sent since, in the order of its connections; `Err`: one that is not to be read in one way.
    pub fn heard(&self) -> Result<Vec<Message>, String> {
        let heard = self.inner.lock().unwrap().heard.clone();
        let mut all = Vec::new();
        for bytes in heard.into_iter().flatten() {
            let reading = reading::requests(&bytes);
            if let End::Wrong(why) = reading.end {
                return Err(format!("upstream was sent {why}: {}", bytes.escape_ascii()));
            }
            all.extend(reading.messages);
        }
        Ok(all)
    }

    fn serve(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let number = {
            let mut inner = self.inner.lock().unwrap();
            inner.heard.push(Some(Vec::new()));
            inner.heard.len() - 1
        };
        let (mut waiting, mut piece) = (Vec::new(), [0; 16 * 1024]);
        if let Some(Says::Early(bytes)) = self.manner() {
            let _ = stream.write_all(&bytes);
        }
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            waiting.extend_from_slice(&piece[..count]);
            if let Some(heard) = &mut self.inner.lock().unwrap().heard[number] {
                heard.extend_from_slice(&piece[..count]);
            }
            if !self.answer(&mut stream, &mut waiting) {
                let _ = stream.shutdown(Shutdown::Write);
                // Reads on, so that the kernel answers nothing with a reset that overtakes the bytes.
            }
        }
    }

    fn manner(&self) -> Option<Says> {
        self.inner.lock().unwrap().says.clone()
    }

    /// False: the connection is to be closed.
    fn answer(&self, stream: &mut TcpStream, waiting: &mut Vec<u8>) -> bool {
        loop {
            let Some(says) = self.manner() else { return false };
            if let Says::AtHead(bytes, closes) = &says {
                let head = waiting.windows(4).any(|four| four == b"\r\n\r\n");
                let _ = if head { stream.write_all(bytes) } else { Ok(()) };
                waiting.clear();
                return !(head && *closes);
            }
            let Some(length) = whole(waiting) else { return true };
            waiting.drain(..length);
            match says {
                Says::Each(bytes) => drop(stream.write_all(&bytes)),
                Says::Once(bytes) => {
                    let _ = stream.write_all(&bytes);
                    return false;
                }
                Says::Early(_) | Says::AtHead(..) => {}
                Says::Turns(mut turns) => {
                    let turn = turns.remove(0);
                    self.inner.lock().unwrap().says = Some(Says::Turns(turns));
                    let _ = stream.write_all(&turn);
                    return false;
                }
            }
        }
    }
}

/// The length of the first request, if it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    reading::requests(bytes).ends.first().copied()
}
