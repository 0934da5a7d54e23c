//! The CustomResourceDefinition, judged by a real API server.
