import type { Installation } from '../../typeorm/installation';
import type { RunMode } from '../run-mode';
import { decrypt } from './decrypt';
import { encrypt } from './encrypt';
import type { Mode } from './mode';
import { reencrypt } from './reencrypt';
import { reindex } from './reindex';
import { verify } from './verify';

export function modeOf(name: RunMode, installation: Installation): Mode {
  switch (name) {
    case 'encrypt':
      return encrypt;
    case 'reencrypt':
      return reencrypt(installation);
    case 'reindex':
      return reindex;
    case 'decrypt':
      return decrypt;
    case 'verify':
      return verify;
  }
}
