import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { Column, Entity, Index } from 'typeorm';
import type { ValueTransformer } from 'typeorm';

import { BlindIndex, Encrypted } from '../../src';
import { tunedGcm } from '../floor';
import { typeormEncrypted } from '../peers';

import { Person } from './person';

/** What a careful team would write by hand: a tuned column transformer over node:crypto. */
const handTuned = transformerOver(tunedGcm());

/** Without the peer its column throws, but then it is not used. */
const peer = typeormEncrypted();
const NOT_INSTALLED: ValueTransformer = { to: missing, from: missing };

@Entity()
export class PlainPerson extends Person {
  @Column() email!: string;
  @Column() phone!: string;
  @Column() ssn!: string;
  @Column() note!: string;
}

@Entity()
export class TransformedPerson extends Person {
  @Column({ transformer: handTuned }) email!: string;
  @Column({ transformer: handTuned }) phone!: string;
  @Column({ transformer: handTuned }) ssn!: string;
  @Column({ transformer: handTuned }) note!: string;
}

@Entity()
export class PeerPerson extends Person {
  @Column({ transformer: peer ?? NOT_INSTALLED }) email!: string;
  @Column({ transformer: peer ?? NOT_INSTALLED }) phone!: string;
  @Column({ transformer: peer ?? NOT_INSTALLED }) ssn!: string;
  @Column({ transformer: peer ?? NOT_INSTALLED }) note!: string;
}

@Entity()
export class EncryptedPerson extends Person {
  @Encrypted() email!: string;
  @Encrypted() phone!: string;
  @Encrypted() ssn!: string;
  @Encrypted() note!: string;
}

/** Its values are read as `Sealed`, which nothing looks at: they are only written as what they are. */
@Entity()
export class SealedPerson extends Person {
  @Encrypted({ read: 'sealed', type: 'string' }) email!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) phone!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) ssn!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) note!: string;
}

// The same people, with look-ups by e-mail address.

@Entity()
export class IndexedPlainPerson extends Person {
  @Index() @Column() email!: string;
  @Column() phone!: string;
  @Column() ssn!: string;
  @Column() note!: string;
}

const tokenKey = createSecretKey(randomBytes(32));

/** The token for a look-up column that a careful team would fill and query by hand. */
export function handMadeToken(text: string): string {
  return createHmac('sha256', tokenKey).update(text).digest('base64url');
}

@Entity()
export class IndexedTransformedPerson extends Person {
  @Column({ transformer: handTuned }) email!: string;
  @Index() @Column() emailToken!: string;
  @Column({ transformer: handTuned }) phone!: string;
  @Column({ transformer: handTuned }) ssn!: string;
  @Column({ transformer: handTuned }) note!: string;
}

@Entity()
export class IndexedEncryptedPerson extends Person {
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted() phone!: string;
  @Encrypted() ssn!: string;
  @Encrypted() note!: string;
}

function transformerOver({ seal, open }: ReturnType<typeof tunedGcm>): ValueTransformer {
  return { to: seal, from: open };
}

function missing(): never {
  throw new Error('typeorm-encrypted is not installed: npm run bench:peers');
}
