import type { Installation } from '../../typeorm/installation';
import type { RunMode } from '../run-mode';
import type { RunThreads } from '../../threads/run-threads';
import { decrypt } from './decrypt';
import { encrypt } from './encrypt';
import type { Mode } from './mode';
import { reencrypt } from './reencrypt';
import { reindex } from './reindex';
import { verify } from './verify';

/** @param threads - for what pays in one. */
export function modeOf(name: RunMode, installation: Installation, threads: RunThreads): Mode {
  switch (name) {
    case 'encrypt':
      return encrypt;
    case 'reencrypt':
      return reencrypt(installation, threads);
    case 'reindex':
      return reindex;
    case 'decrypt':
      return decrypt;
    case 'verify':
      return verify;
  }
}
