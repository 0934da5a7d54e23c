//! Secrets and ConfigMaps that destinations refer to.
