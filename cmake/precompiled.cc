// Compiled only to hold precompiled headers.
