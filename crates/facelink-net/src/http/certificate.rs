//! The certificate authority, to be installed on phones, and how to do that.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use super::{
    page,
    state::{Server, refuse},
};
use crate::authority::CertificateAuthority;

const PAGE: &str = "/certificate";
const DER: &str = "/certificate/facelink.crt";
const PEM: &str = "/certificate/facelink.pem";

const HTML: &str = include_str!("../../web/certificate.html");

/// Whether a path is one of these, which need no token: they hold no secret, and come before a secure connection.
pub(super) fn is_public(path: &str) -> bool {
    matches!(path, PAGE | DER | PEM)
}

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route(PAGE, get(|State(server): State<Server>| async move { given(server, html) }))
        .route(DER, get(|State(server): State<Server>| async move { given(server, der) }))
        .route(PEM, get(|State(server): State<Server>| async move { given(server, pem) }))
}

fn given(server: Server, answer: fn(&CertificateAuthority) -> Response) -> Response {
    let authority: Option<Arc<CertificateAuthority>> = server.authority;
    authority.as_deref().map_or_else(
        || {
            let message = "this endpoint has no certificate authority of its own: it speaks plain HTTP, or has a \
                           certificate of the user's";
            refuse(StatusCode::NOT_FOUND, "not_found", message)
        },
        answer,
    )
}

fn html(authority: &CertificateAuthority) -> Response {
    // Neither holds a character that HTML would read otherwise.
    page::html(HTML.replace("{name}", authority.name()).replace("{fingerprint}", authority.fingerprint()))
}

/// By this type Apple's systems and Android know that it is to be installed.
fn der(authority: &CertificateAuthority) -> Response {
    ([(header::CONTENT_TYPE, "application/x-x509-ca-cert")], authority.der().to_vec()).into_response()
}

fn pem(authority: &CertificateAuthority) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"facelink.pem\""),
    ];
    (headers, authority.pem().to_owned()).into_response()
}
