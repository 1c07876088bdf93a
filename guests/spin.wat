;; Never returns: for whoever can interrupt it.
(module
  (func (export "run")
    (loop $forever (br $forever))))
