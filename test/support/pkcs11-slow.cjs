// Preloaded into the thread of a thread: a real module with every call slowed down to 100 ms.
const pkcs11js = require('pkcs11js');

const sleep = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);

class SlowPkcs11 extends pkcs11js.PKCS11 {
  constructor() {
    super();
    for (const name of Object.keys(this).filter((key) => key.startsWith('C_'))) {
      const call = this[name];
      this[name] = (...args) => {
        sleep();
        return call.apply(this, args);
      };
    }
  }
}

pkcs11js.PKCS11 = SlowPkcs11;
