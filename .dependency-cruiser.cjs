/**
 * Which folders of src/ each folder may import, itself and src/errors.ts apart. A longer path stands
 * for that one file. docs/architecture.md draws the same picture.
 */
const mayImport = {
  async: [],
  encoding: [],
  crypto: ['encoding'],
  format: ['encoding'],
  audit: ['crypto', 'encoding'],
  kms: ['crypto', 'encoding'],
  telemetry: [],
  access: ['async', 'audit', 'telemetry', 'crypto', 'encoding'],
  approvals: ['access', 'audit', 'crypto', 'encoding'],
  keys: ['async', 'audit', 'telemetry', 'kms/kms-provider', 'crypto', 'format', 'encoding'],
  import: ['kms', 'crypto', 'encoding'],
  field: ['keys/key-source', 'format', 'crypto', 'encoding'],
  typeorm: [
    'access',
    'approvals',
    'async',
    'telemetry',
    'field',
    'import/previous-format',
    'keys',
    'audit',
    'kms/kms-provider',
    'format',
    'crypto',
    'encoding',
  ],
  reencryption: [
    'approvals/approval-request',
    'telemetry',
    'typeorm',
    'field',
    'keys',
    'audit',
    'kms/kms-provider',
    'kms/remote/optional-peer',
    'format',
    'crypto',
    'encoding',
  ],
  schema: ['reencryption', 'typeorm'],
  health: ['async', 'reencryption/encrypted-table', 'typeorm', 'keys', 'kms/kms-provider'],
  doctor: [
    'approvals',
    'async',
    'health',
    'reencryption',
    'typeorm',
    'keys',
    'kms/kms-provider',
    'kms/local/local-kms-provider',
    'format',
    'crypto/fips',
    'crypto/native',
  ],
  evidence: [
    ...['access', 'audit', 'crypto', 'doctor', 'encoding', 'format', 'health', 'keys'],
    ...['kms/kms-provider', 'reencryption', 'typeorm'],
  ],
  incident: [
    ...[
      'access',
      'audit',
      'crypto',
      'data-keys',
      'doctor',
      'encoding',
      'field',
      'format',
      'health',
      'keys',
    ],
    ...['kms/kms-provider', 'reencryption', 'typeorm'],
    ...['evidence/evidence-folder', 'evidence/evidence-note', 'evidence/plain'],
    ...['evidence/renderings/markup', 'evidence/renderings/page'],
  ],
  opentelemetry: [
    'async',
    'audit/actor',
    'telemetry',
    'field-encryption',
    'doctor/encryption-state',
    'reencryption/coverage',
    'typeorm/installation',
    'keys/record',
  ],
  nestjs: [
    ...['field-encryption', 'key-upkeep', 'health', 'typeorm', 'keys', 'audit/actor'],
    'access/rate-limited-error',
  ],
  cli: [
    'field-encryption',
    'evidence',
    'incident',
    'incidents',
    'data-keys',
    'key-upkeep',
    'access-trail',
    'access',
    'audit-trail',
    'approvals',
    'evidence',
    '../migrations',
    'doctor',
    'schema',
    'reencryption',
    'typeorm',
    'field',
    'keys',
    'audit',
    'kms',
    'format',
    'crypto',
    'encoding',
  ],
};

/** The same for the rooms of a folder that has several: what each may import of the folder, itself apart. */
const rooms = {
  keys: {
    record: [],
    store: ['record'],
    wrapping: ['store', 'record', 'key-source'],
    anchor: ['wrapping', 'store', 'record'],
    policy: ['record'],
    audit: ['anchor', 'wrapping', 'store', 'record', 'key-services'],
    cache: ['anchor', 'wrapping', 'store', 'record', 'key-source', 'key-services'],
    lifecycle: ['audit', 'policy', 'wrapping', 'store', 'record', 'key-services'],
    backup: ['wrapping', 'store', 'record', 'key-services'],
    signing: ['audit', 'lifecycle', 'wrapping', 'store', 'record', 'key-services'],
    scopes: [
      'audit',
      'cache',
      'lifecycle',
      'policy',
      'wrapping',
      'store',
      'record',
      'key-source',
      'key-services',
    ],
  },
  typeorm: {
    dialect: [],
    codec: ['dialect'],
    connection: ['dialect'],
    declare: [],
    tables: ['connection', 'dialect'],
    metadata: ['codec', 'declare', 'dialect'],
    sql: ['metadata', 'dialect'],
    installation: ['sql', 'tables', 'metadata', 'declare', 'connection', 'dialect'],
    query: ['installation', 'sql', 'tables', 'metadata', 'codec', 'connection', 'dialect'],
    'query/refusal': ['query/any-query-builder', 'installation', 'sql', 'metadata', 'dialect'],
    patches: [
      ...['query', 'installation', 'sql', 'tables', 'metadata', 'declare', 'connection'],
      'dialect',
    ],
  },
  reencryption: {
    report: ['coverage'],
    coverage: ['database', 'encrypted-table'],
    database: [],
    modes: ['report'],
    lease: ['database'],
    plan: ['modes', 'database', 'report', 'encrypted-table'],
    walk: ['plan', 'lease', 'modes', 'database', 'report'],
    foresight: ['walk', 'plan', 'database', 'report', 'encrypted-table'],
    runs: ['foresight', 'walk', 'plan', 'lease', 'modes', 'database', 'coverage', 'report'],
    queue: ['runs', 'walk', 'database', 'report'],
  },
  doctor: {
    checks: ['finding', 'operator-tasks', 'encryption-state', 'absent-keys', 'approval-state'],
  },
  cli: {
    terminal: [],
    load: ['terminal'],
    workers: ['load', 'terminal'],
    commands: ['workers', 'load', 'terminal'],
  },
};

/** Folders of one database each, and the files that choose among them. */
const databases = '(postgres|sqlite)';
const choices =
  'typeorm/dialect/dialect-of|schema/schema-changes-of|reencryption/database/database-of';

/** Folders that compute and do nothing else. */
const pure = ['crypto', 'encoding', 'field', 'format'];

/** Node.js modules that reach the outside. */
const io = 'child_process|cluster|dgram|dns|fs|http|http2|https|net|readline|tls|worker_threads';

/** `folder` of src, or of the repository where it begins with `../`. */
const fromRoot = (folder) => (folder.startsWith('../') ? folder.slice(3) : `src/${folder}`);

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Two files that need each other are one file, or three.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    ...Object.entries(mayImport).map(([folder, allowed]) => ({
      name: `${folder}-imports-downwards`,
      comment: `src/${folder} may import ${['errors', ...allowed].join(', ')} and nothing else of src.`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: {
        path: '^(src|migrations)/',
        pathNot: `^(${['errors', folder, ...allowed].map(fromRoot).join('|')})(/|\\.ts$|$)`,
      },
    })),
    ...Object.entries(rooms).flatMap(([folder, arrows]) =>
      Object.entries(arrows).map(([room, allowed]) => ({
        name: `${folder}/${room}-imports-downwards`,
        comment: `src/${folder}/${room} may import ${['nothing else', ...allowed].join(', ')} of src/${folder}.`,
        severity: 'error',
        from: { path: `^src/${folder}/${room}/` },
        to: {
          path: `^src/${folder}/`,
          pathNot: `^src/${folder}/(${[room, ...allowed].join('|')})(/|\\.ts$)`,
        },
      })),
    ),
    {
      name: 'databases-behind-their-choice',
      comment: 'What differs between databases is asked of a port, by dialectOf.',
      severity: 'error',
      from: { path: '^src/', pathNot: `/${databases}/|^src/(${choices})\\.ts$` },
      to: { path: `^src/.*/${databases}/` },
    },
    {
      name: 'databases-apart',
      comment: 'A folder of one database knows no other.',
      severity: 'error',
      from: { path: `^src/.*/${databases}/` },
      to: { path: `^src/.*/${databases}/`, pathNot: '/$1/' },
    },
    {
      name: 'errors-import-nothing',
      severity: 'error',
      from: { path: '^src/errors\\.ts$' },
      to: { path: '^(src|migrations)/' },
    },
    {
      name: 'migrations-import-tables-only',
      comment: 'A migration is history: the less of src it hangs on, the less can change it.',
      severity: 'error',
      from: { path: '^migrations/' },
      to: { path: '^src/', pathNot: '^src/(errors\\.ts|typeorm/)' },
    },
    {
      name: 'typeorm-behind-its-folder',
      comment: 'Only these folders know the ORM, so that its next major is one adapter away.',
      severity: 'error',
      from: {
        path: '^src/',
        pathNot:
          '^src/((typeorm|reencryption|schema|doctor|evidence|cli|nestjs|opentelemetry)/|(field-encryption|index-tokens|stored-values|data-keys)\\.ts$)',
      },
      to: { path: 'node_modules/typeorm(-0\\.3)?/' },
    },
    {
      name: 'pure-folders-do-no-io',
      severity: 'error',
      from: { path: `^src/(${pure.join('|')})/` },
      to: { dependencyTypes: ['core'], path: `^(node:)?(${io})(/|$)` },
    },
    {
      name: 'nothing-that-is-not-installed',
      comment: 'What src imports is a dependency or a peer, never one for development.',
      severity: 'error',
      from: { path: '^(src|migrations)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['npm', 'npm-peer', 'type-only'] },
    },
    {
      name: 'not-resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['require', 'node', 'types'],
    },
  },
};
