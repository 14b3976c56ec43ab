//! HTTP/2 connections that break at any byte, calls that are dropped at any poll, and peers that break the rules.

mod abuse;
mod alive;
mod churn;
mod frames;
mod given_up;
mod limits;
mod pipe;
mod sweeps;
mod uploads;
