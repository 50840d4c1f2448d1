"""What `nas.api` is made of: arrays, settings and a quiet terminal in; networks that predict out."""
