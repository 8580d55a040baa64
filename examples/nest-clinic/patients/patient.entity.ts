import { Column, DeleteDateColumn, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted, KeyScope, Sealed } from 'typeorm-field-encryption';

@Entity()
export class Patient {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @KeyScope({ kind: 'tenant' })
  @Index()
  @Column()
  tenantId!: string;

  @Column()
  name!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email' })
  email!: string;

  /** Shown rarely, and each time it is noted to whom. */
  @Encrypted({ read: 'sealed', type: 'string', nullable: true })
  ssn!: Sealed<string> | string | null;

  @DeleteDateColumn()
  deletedAt!: Date | null;
}
