import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { BlindIndex, Encrypted } from 'typeorm-field-encryption';

/** Who works at a clinic, the tenant. */
@Entity()
export class Staff {
  @PrimaryGeneratedColumn('uuid')
  id!: string;

  @Column()
  tenantId!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email', unique: true })
  email!: string;

  @Column()
  passwordHash!: string;
}
