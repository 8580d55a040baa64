import type { DataSource, QueryRunner } from 'typeorm';

import { KeyManager } from '../../keys/key-manager';
import type { KeyEvent } from '../../keys/record/key-event';
import { channels } from '../../telemetry/channels';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { TypeormAuditStore } from '../tables/typeorm-audit-store';
import type { TypeormKeyStore } from '../tables/typeorm-key-store';
import { TypeormScopeKeyStore } from '../tables/typeorm-scope-key-store';
import { TypeormSigningKeyStore } from '../tables/typeorm-signing-key-store';

import type { InstalledApprovals } from './installed-approvals';

/** The parts of an installation that its key manager is made of. */
interface KeyManagerSources {
  readonly approvals: Pick<InstalledApprovals, 'gate'>;
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly store: TypeormKeyStore;
}

/** Creates the key manager of a DataSource. Its events that are warnings go to TypeORM's logger as well. */
export function newKeyManager({
  approvals,
  dataSource,
  options,
  store,
}: KeyManagerSources): KeyManager<QueryRunner> {
  const { kms, otherKms, application, suite, profile } = options;
  return new KeyManager<QueryRunner>({
    store,
    kms,
    otherKms,
    application,
    suite,
    profile,
    nonces: profile === undefined ? options.nonces : 'random',
    cache: options.keyCache ?? {},
    onEvent: (event) => {
      const warning = warningOf(event);
      if (warning !== undefined) dataSource.logger.log('warn', `field encryption: ${warning}`);
      options.onEvent?.(event);
      channels.keyEvent.publish({ source: dataSource, event });
    },
    policies: options.keyPolicies,
    wallClock: options.now,
    anchor: options.anchor,
    source: dataSource,
    signing: new TypeormSigningKeyStore(dataSource),
    scopes: { store: new TypeormScopeKeyStore(dataSource), kmsOf: options.kmsOf },
    audit: {
      entries: new TypeormAuditStore(dataSource),
      options: options.audit ?? {},
      before: (connection) => approvals.gate.consume(connection),
    },
  });
}

/** Returns the text of an event that is a warning; undefined for any other. */
function warningOf(event: KeyEvent): string | undefined {
  switch (event.type) {
    case 'applicationNotNamed':
      return (
        "no `application` is configured, and the name is 'default'. Another application without a name that " +
        'can use the same KEK takes the keys and rows of this one for its own. ' +
        'See docs/security.md, "The name of the application".'
      );
    case 'keyTableOlder':
      return (
        `the key table is older than its anchor. Older rows of these keys are refused: ${event.keyIds.join(', ')}. ` +
        '`field-encryption audit verify` says more.'
      );
    case 'anchorBegun':
      return `the anchor of the key table was empty, and begins with what the table has at epoch ${String(event.epoch)}.`;
    case 'anchorFailed':
      return `the anchor of the key table could not be written (${event.code ?? 'unknown'}). It is behind until it is.`;
    case 'notReady':
      return (
        `not ready (${event.code}): ${event.message} ` +
        'Encrypted columns cannot be used until it is; fieldEncryption(dataSource).ready() says when.'
      );
    case 'useCountFailed':
      return (
        `how often key ${event.keyId} was used could not be added to the key table` +
        `${event.code === undefined ? '' : ` (${event.code})`}: \`useCount\` and policies by it are behind. ` +
        'The database role needs UPDATE on use_count of the key table.'
      );
    case 'accessLogFailed':
      return accessLogWarning(event);
    default:
      return undefined;
  }
}

function accessLogWarning({
  target,
  message,
  waiting,
  dropped,
}: Extract<KeyEvent, { type: 'accessLogFailed' }>): string {
  const what =
    `${String(waiting)} entries of the access log wait to be written, and ${String(dropped)} uses of values ` +
    'are lost';
  if (message === undefined) return `${what}.`;
  return target === 'sink'
    ? `${what}. \`accessLog.sink\` failed: ${message}`
    : `${what}. The table needs the migrations, and INSERT for the database role: ${message}`;
}
