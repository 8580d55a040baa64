import { keyStoreContract } from '../../contract/key-store.contract';
import { MemoryKeyStore } from '../../support/memory-key-store';

describe('MemoryKeyStore', () => {
  keyStoreContract(() => {
    const store = new MemoryKeyStore();
    return Promise.resolve({
      store,
      other: store,
      dropTable: () => {
        store.hasTable = false;
        return Promise.resolve();
      },
      close: () => Promise.resolve(),
    });
  });
});
