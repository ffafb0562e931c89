//! The sealed streams of one connection, each of a subject whose name is sealed too.

use std::{collections::HashMap, sync::Arc};

use facelink::wire::sealed::StreamId;
use parking_lot::Mutex;

/// Streams whose names are remembered.
const MAX_STREAMS: usize = 256;

/// What stands for sealed streams where their names cannot be read, and their names where they can.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The subject that `hello` names, and the stream that came first under it.
    own: Mutex<Option<(Arc<str>, StreamId)>>,
    heard: Mutex<HashMap<StreamId, Arc<str>>>,
}

impl Streams {
    /// What a stream is called where there is no key: the first one as `hello` says, each other one by its id.
    pub fn name(&self, own: &Arc<str>, stream: StreamId) -> Arc<str> {
        let mut known = self.own.lock();
        match &*known {
            Some((name, first)) if name == own => match *first == stream {
                true => own.clone(),
                false => opaque(stream).into(),
            },
            _ => {
                *known = Some((own.clone(), stream));
                own.clone()
            }
        }
    }

    /// Where there is a key: a face of a stream has this name.
    #[cfg(feature = "seal")]
    pub fn heard(&self, stream: StreamId, name: &str) {
        let mut heard = self.heard.lock();
        if heard.get(&stream).is_none_or(|known| **known != *name)
            && (heard.len() < MAX_STREAMS || heard.contains_key(&stream))
        {
            // A sender that has begun anew has another stream.
            heard.retain(|_, known| **known != *name);
            heard.insert(stream, name.into());
        }
    }

    /// What a relay calls the stream of a name, if that is not by the name.
    pub fn opaque_name(&self, name: &str) -> Option<String> {
        self.heard.lock().iter().find(|(_, known)| ***known == *name).map(|(stream, _)| opaque(*stream))
    }

    /// The name of the stream that a relay calls so.
    pub fn named(&self, opaque_name: &str) -> Option<Arc<str>> {
        self.heard.lock().iter().find(|(stream, _)| opaque(**stream) == opaque_name).map(|(_, name)| name.clone())
    }
}

fn opaque(stream: StreamId) -> String {
    format!("~{stream}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_first_one_is_the_subject_of_hello() {
        let (streams, [a, b]) = (Streams::default(), [1, 2].map(StreamId::from_random));
        let (first, second): (Arc<str>, Arc<str>) = ("~Ann".into(), "~Bob".into());
        assert_eq!(streams.name(&first, a), first);
        assert_eq!(&*streams.name(&first, b), "~800000000002");
        assert_eq!(streams.name(&first, a), first);
        // Another `hello`.
        assert_eq!(streams.name(&second, b), second);
        assert_eq!(&*streams.name(&second, a), "~800000000001");
    }

    #[cfg(feature = "seal")]
    #[test]
    fn streams_heard_are_found_by_what_stands_for_them() {
        let streams = Streams::default();
        for i in 0..2 * MAX_STREAMS as u64 {
            streams.heard(StreamId::from_random(i), &format!("face {i}"));
        }
        streams.heard(StreamId::from_random(7), "Bob");
        assert_eq!(streams.named("~800000000007").as_deref(), Some("Bob"));
        assert_eq!(streams.opaque_name("Bob").as_deref(), Some("~800000000007"));
        assert_eq!(streams.named("~7"), None);
        assert_eq!(streams.heard.lock().len(), MAX_STREAMS);
    }
}
