import { Sealed } from '../../../field/sealed';
import type { SealedPlace } from '../../../field/sealed';
import { channels } from '../../../telemetry/channels';
import type { Installation } from '../../installation/installation';
import { noteUseInTurn } from '../../installation/value-use';
import { decryptStored, fetchPrevious, keyPrefixOf } from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';

import { hydratedRows } from './bound-rows';
import type { RawRows } from './bound-rows';

/**
 * Returns a value that is being hydrated, still encrypted.
 *
 * @throws {@link ScopeMismatchError} for a row of another scope than that of the context
 */
export function sealedValue(
  installation: Installation,
  encrypted: EncryptedColumn,
  stored: unknown,
): Sealed {
  const rows = hydratedRows();
  if (rows === undefined) throw new TypeError('a sealed value is read from a row');
  if (encrypted.scope !== undefined) rows.inRow(encrypted, stored);
  const { column, policy } = encrypted;
  const { entity, property } = policy;
  const place = { entity, property, primaryKey: rows.primaryKey(column.entityMetadata) };
  const inRow = rows.holdRow();
  return new Sealed(place, () => reveal(installation, encrypted, { place, inRow, stored }));
}

async function reveal(
  installation: Installation,
  encrypted: EncryptedColumn,
  {
    place,
    inRow,
    stored,
  }: {
    readonly place: SealedPlace;
    readonly inRow: RawRows['inRow'];
    readonly stored: unknown;
  },
): Promise<unknown> {
  await noteUseInTurn(installation, encrypted, 'decrypt', () => 1);
  const prefix = keyPrefixOf(encrypted, stored);
  if (prefix !== undefined) await installation.loadKeys([prefix]);
  if (encrypted.scope !== undefined) await installation.recordAcrossScopes(undefined);
  const [ready] = await fetchPrevious(encrypted, [stored]);
  const value = decryptStored(encrypted, inRow(encrypted, ready));
  channels.reveal.publish({ source: installation.dataSource, ...place });
  return value;
}
