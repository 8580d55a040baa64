import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, KeyScope } from 'typeorm-field-encryption';

/** Who works at a clinic, the tenant. */
@Entity()
export class Staff {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @KeyScope({ kind: 'tenant' })
  @Column()
  tenantId!: string;

  /** Looked up at login, when nobody knows the tenant yet, and unique among all of them. */
  @Encrypted()
  @BlindIndex({ normalize: 'email', unique: true, scope: false })
  email!: string;

  @Column()
  passwordHash!: string;
}
