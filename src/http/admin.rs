//! The routes of the admin listener.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::http::{answer, routes};

/// Everything under `server.admin`.
pub fn routes() -> BoxedFilter<(Response,)> {
    routes::probes()
        .recover(|rejection| async move { Ok::<_, warp::Rejection>(answer::turned(rejection)) })
        .unify()
        .boxed()
}
