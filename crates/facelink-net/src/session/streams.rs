//! The sealed streams of one connection, each of a subject whose name is sealed too.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use facelink::wire::sealed::{Kind, StreamId};
use parking_lot::Mutex;

/// Streams whose names are remembered.
const MAX_STREAMS: usize = 256;

/// What stands for sealed streams where their names cannot be read, and their names where they can.
#[derive(Debug, Default)]
pub(super) struct Streams {
    faces: Mutex<Faces>,
    heard: Mutex<HashMap<StreamId, Arc<str>>>,
}

/// The streams of faces.
#[derive(Debug, Default)]
struct Faces {
    /// The subject that `hello` names, and the stream that came first under it.
    own: Option<(Arc<str>, StreamId)>,
    others: HashSet<StreamId>,
}

impl Streams {
    /// What a stream is called where there is no key: the first one of a face as `hello` says, each other one by its id. Messages,
    /// which may have a stream of their own, go with that first face.
    pub fn name(&self, own: &Arc<str>, stream: StreamId, kind: Kind) -> Arc<str> {
        let mut faces = self.faces.lock();
        let is_face = matches!(kind, Kind::Face(_));
        let first = faces.own.as_ref().filter(|(name, _)| name == own).map(|(_, first)| *first);
        if first.is_none() && is_face {
            faces.own = Some((own.clone(), stream));
        }
        if first.map_or(is_face, |first| first == stream) {
            return own.clone();
        }
        if is_face && faces.others.len() < MAX_STREAMS {
            faces.others.insert(stream);
        }
        if is_face || faces.others.contains(&stream) { opaque(stream).into() } else { own.clone() }
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
    use facelink::wire::sealed::Layer;

    use super::*;

    const FACE: Kind = Kind::Face(Layer::Base);

    #[test]
    fn streams_first_one_is_the_subject_of_hello() {
        let (streams, [a, b]) = (Streams::default(), [1, 2].map(StreamId::from_random));
        let (first, second): (Arc<str>, Arc<str>) = ("~Ann".into(), "~Bob".into());
        assert_eq!(streams.name(&first, a, FACE), first);
        assert_eq!(&*streams.name(&first, b, FACE), "~800000000002");
        assert_eq!(streams.name(&first, a, FACE), first);
        // Another `hello`.
        assert_eq!(streams.name(&second, b, FACE), second);
        assert_eq!(&*streams.name(&second, a, FACE), "~800000000001");
    }

    #[test]
    fn streams_messages_go_with_a_face() {
        let (streams, [message, a, b]) = (Streams::default(), [1, 2, 3].map(StreamId::from_random));
        let own: Arc<str> = "~Ann".into();
        assert_eq!(streams.name(&own, message, Kind::Message), own, "before any face");
        assert_eq!(streams.name(&own, a, FACE), own);
        assert_eq!(&*streams.name(&own, b, FACE), "~800000000003");
        assert_eq!(streams.name(&own, message, Kind::Message), own, "a stream of its own");
        assert_eq!(&*streams.name(&own, b, Kind::Message), "~800000000003", "that of a face");
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
