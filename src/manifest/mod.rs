//! Documents for AWS.
