use http::{Method, Request, Response, Uri};

use crate::{Error, Redirected, observe::Paths, redirect::Answerer};

/// The request, as an error describes it.
#[derive(Clone)]
pub(crate) struct Description {
    method: Method,
    uri: Uri,
    paths: Paths,
}

impl Description {
    pub(crate) fn new(method: Method, uri: Uri, paths: Paths) -> Self {
        Self { method, uri, paths }
    }

    pub(crate) fn of<B>(request: &Request<B>, paths: Paths) -> Self {
        Self::new(request.method().clone(), request.uri().clone(), paths)
    }

    pub(crate) fn asked(&self) -> (&Method, &Uri) {
        (&self.method, &self.uri)
    }

    /// The request that gave this response: after a redirect another one than was made, and with
    /// endpoints one that may have gone to another URL.
    pub(crate) fn answered_by<T>(&self, response: &Response<T>) -> Self {
        if let Some(redirected) = response.extensions().get::<Redirected>() {
            let (method, uri) = (redirected.method().clone(), redirected.uri().clone());
            return Self::new(method, uri, self.paths);
        }
        let uri = Answerer::of(response).unwrap_or(&self.uri).clone();
        Self::new(self.method.clone(), uri, self.paths)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(crate) fn name(&self, error: Error) -> Error {
        error.of(&self.method, Some(&self.uri)).telling(self.paths)
    }
}
