//go:build pkcs11 && cgo

package kms

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/admitone/admitone/keyring"
)

// pkcs11Service is an AES key in a token. Each call opens a session of its own, logs in,
// and closes the session. Calls are rare, and this way a token that was taken out, or
// lost its sessions, works again after its return.
//
// A wrapped data key is nonce (12 bytes), ciphertext, tag (16 bytes).
type pkcs11Service struct {
	uri    *pkcs11URI
	module *pkcs11.Ctx
	busy   chan struct{} // holds one value during a call
	badPIN string        // the PIN that the token refused
}

func openPKCS11(u *pkcs11URI) (keyring.KEK, error) {
	module := pkcs11.New(u.module)
	if module == nil {
		return nil, outage(nil, "the PKCS #11 library %s cannot be loaded; check that the file exists, is readable "+
			"and is for this machine's architecture, and that the libraries it needs are installed", u.module)
	}
	return &remoteKEK{
		service:   &pkcs11Service{uri: u, module: module, busy: make(chan struct{}, 1)},
		name:      "the token",
		hint:      "pkcs11",
		ignoresAD: "the token's library is at fault; ask its maker",
		timeout:   callTimeout,
	}, nil
}

func (s *pkcs11Service) wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error) {
	return s.call(ctx, dataKey, func(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, in []byte) ([]byte, error) {
		return s.encrypt(session, key, in, associatedData)
	})
}

func (s *pkcs11Service) unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error) {
	if len(wrapped) != nonceSize+keySize+tagSize {
		return nil, refusal(nil, "the data key was not wrapped by a token")
	}
	return s.call(ctx, wrapped, func(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, in []byte) ([]byte, error) {
		out, err := s.decrypt(session, key, in, associatedData)
		code, ok := errors.AsType[pkcs11.Error](err)
		if ok && (slices.Contains(forgedCodes, code) || slices.Contains(vagueCodes, code) && s.works(session, key)) {
			return nil, refusal(err, notOpened, "the token", "the key "+s.uri.key())
		}
		return out, err
	})
}

// forgedCodes are the answers of tokens to a ciphertext with a wrong tag. PKCS #11 3.0 has
// a code only for this, 0x1e5.
var forgedCodes = []pkcs11.Error{
	pkcs11.CKR_ENCRYPTED_DATA_INVALID, pkcs11.CKR_ENCRYPTED_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID,
	pkcs11.CKR_SIGNATURE_INVALID, 0x1e5,
}

// vagueCodes are the answers of some tokens instead, and also their answers to faults of
// their own. SoftHSM uses the first code.
var vagueCodes = []pkcs11.Error{pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED}

// works reports whether a key opens a ciphertext that it has just made. If so, the token is
// in order, and the ciphertext before was at fault.
func (s *pkcs11Service) works(session pkcs11.SessionHandle, key pkcs11.ObjectHandle) bool {
	probe := make([]byte, keySize)
	out, err := s.encrypt(session, key, probe, nil)
	if err != nil {
		return false
	}
	again, err := s.decrypt(session, key, out, nil)
	return err == nil && bytes.Equal(again, probe)
}

func (s *pkcs11Service) encrypt(
	session pkcs11.SessionHandle, key pkcs11.ObjectHandle, in, associatedData []byte,
) ([]byte, error) {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	params := pkcs11.NewGCMParams(nonce, associatedData, 8*tagSize)
	defer params.Free()
	gcm := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
	if err := s.module.EncryptInit(session, gcm, key); err != nil {
		return nil, err
	}
	out, err := s.module.Encrypt(session, in)
	if err != nil {
		return nil, err
	}
	// Some tokens use a nonce of their own instead.
	used := params.IV()
	if len(used) != nonceSize || len(out) != len(in)+tagSize {
		return nil, fmt.Errorf("the token made a nonce of %d and a ciphertext of %d bytes", len(used), len(out))
	}
	return slices.Concat(used, out), nil
}

func (s *pkcs11Service) decrypt(
	session pkcs11.SessionHandle, key pkcs11.ObjectHandle, in, associatedData []byte,
) ([]byte, error) {
	params := pkcs11.NewGCMParams(in[:nonceSize], associatedData, 8*tagSize)
	defer params.Free()
	gcm := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}
	if err := s.module.DecryptInit(session, gcm, key); err != nil {
		return nil, err
	}
	return s.module.Decrypt(session, in[nonceSize:])
}

type operation func(session pkcs11.SessionHandle, key pkcs11.ObjectHandle, in []byte) ([]byte, error)

// call does one operation, or gives up when ctx ends. A library that hangs cannot be
// stopped: until the library returns, the next calls give up too.
func (s *pkcs11Service) call(ctx context.Context, in []byte, do operation) ([]byte, error) {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	in = slices.Clone(in) // the caller may clear in before a library that hangs reads it
	go func() {
		out, err := s.inSession(in, do)
		clear(in)
		<-s.busy
		done <- result{out, err}
	}()
	select {
	case r := <-done:
		return r.out, s.explain(r.err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *pkcs11Service) inSession(in []byte, do operation) ([]byte, error) {
	// Another KEK may have initialized the library, and the library may have finalized itself.
	err := s.module.Initialize()
	if err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil, err
	}
	slot, info, err := s.slot()
	if err != nil {
		return nil, err
	}
	session, err := s.module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, err
	}
	defer s.module.CloseSession(session)
	if err := s.login(session, info); err != nil {
		return nil, err
	}
	key, err := s.key(session)
	if err != nil {
		return nil, err
	}
	return do(session, key, in)
}

// slot finds the token.
func (s *pkcs11Service) slot() (uint, pkcs11.TokenInfo, error) {
	slots, err := s.module.GetSlotList(true)
	if err != nil {
		return 0, pkcs11.TokenInfo{}, err
	}
	var found []uint
	var info pkcs11.TokenInfo
	for _, slot := range slots {
		i, err := s.module.GetTokenInfo(slot)
		if err != nil {
			continue // taken out since, or broken; only the URI's own token matters
		}
		serial := strings.TrimSpace(i.SerialNumber)
		if (s.uri.token == "" || i.Label == s.uri.token) && (s.uri.serial == "" || serial == s.uri.serial) {
			found, info = append(found, slot), i
		}
	}
	switch {
	case len(found) == 0:
		return 0, info, outage(nil, "there is no token %q among the %d of %s; put the token in, start its service, "+
			"or correct token= and serial=", s.uri.token+s.uri.serial, len(slots), s.uri.module)
	case len(found) > 1:
		return 0, info, outage(nil, "there are %d tokens %q; choose one with serial=", len(found), s.uri.token+s.uri.serial)
	}
	return found[0], info, nil
}

// login logs in if the token requires a login. A PIN that was refused is not tried again,
// since a token locks itself after a few wrong PINs, and a reader may try a file that does
// not open again and again.
func (s *pkcs11Service) login(session pkcs11.SessionHandle, info pkcs11.TokenInfo) error {
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	pin, err := s.uri.pin()
	switch {
	case err != nil:
		return outage(err, "the token's PIN cannot be read")
	case pin == "" && info.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH == 0:
		return outage(nil, "the token requires a PIN; give pin-source=file:PATH or pin-source=env:NAME")
	case info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return outage(nil, "the token's PIN is locked after too many wrong ones; unlock it with its security officer's PIN")
	case info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		return outage(nil, "one more wrong PIN would lock the token, so no PIN is tried; "+
			"log in once with the token's own tool, which resets the count")
	case s.badPIN != "" && pin == s.badPIN:
		return outage(nil, "the token refused this PIN before, and the PIN is not tried again, since the token could lock; "+
			"correct the PIN that pin-source names")
	}
	err = s.module.Login(session, pkcs11.CKU_USER, pin)
	switch {
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)):
		return nil
	case errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INCORRECT)),
		errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_INVALID)),
		errors.Is(err, pkcs11.Error(pkcs11.CKR_PIN_LEN_RANGE)):
		s.badPIN = pin
		return outage(err, "the token refuses the PIN; correct the PIN that pin-source names "+
			"(a token locks after a few wrong PINs)")
	}
	return err
}

// key finds the one AES key that the URI names.
func (s *pkcs11Service) key(session pkcs11.SessionHandle) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	if s.uri.object != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, s.uri.object))
	}
	if s.uri.id != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(s.uri.id)))
	}
	if err := s.module.FindObjectsInit(session, template); err != nil {
		return 0, err
	}
	keys, _, err := s.module.FindObjects(session, 2)
	if end := s.module.FindObjectsFinal(session); err == nil {
		err = end
	}
	switch {
	case err != nil:
		return 0, err
	case len(keys) == 0:
		return 0, outage(nil, "there is no AES key %s; make the key, or correct object= and id=", s.uri.key())
	case len(keys) > 1:
		return 0, outage(nil, "there is more than one AES key %s; choose one with id=", s.uri.key())
	}
	return keys[0], nil
}

// explain tells what to do about a code of PKCS #11 2.40, section 5.1.
func (s *pkcs11Service) explain(err error) error {
	code, ok := errors.AsType[pkcs11.Error](err)
	if _, explained := errors.AsType[*serviceError](err); !ok || explained {
		return err
	}
	switch uint(code) {
	case pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_SESSION_HANDLE_INVALID,
		pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID:
		return outage(err, "the token went away during the call; put the token back, or restart its service, and try again")
	case pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE:
		return outage(err, "the key %s must not encrypt and decrypt; "+
			"make an AES key of 256 bits with CKA_ENCRYPT and CKA_DECRYPT", s.uri.key())
	case pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID:
		return outage(err, "the token lacks AES-GCM (CKM_AES_GCM) with a nonce of 12 and a tag of 16 bytes; "+
			"use another token")
	case pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED:
		return outage(err, "the token's PIN is locked or has expired; set a new PIN with the token's own tool")
	}
	return outage(err, "the token failed; read the token's own log, and try again")
}

// pin reads the PIN from its source, at each call; "" means that the URI has no source.
func (u *pkcs11URI) pin() (string, error) {
	from, where, _ := strings.Cut(u.pinSource, ":")
	var pin string
	switch from {
	case "":
		return "", nil
	case "env":
		pin = trimNewlines(os.Getenv(where))
	case "file":
		b, err := readSecret(where, "the PIN file", "or give pin-source=env:NAME")
		if err != nil {
			return "", err
		}
		pin = trimNewlines(string(b))
	}
	if pin == "" {
		return "", errors.New("the PIN is empty; check pin-source")
	}
	return pin, nil
}

// key returns the name of the key for people.
func (u *pkcs11URI) key() string {
	name := fmt.Sprintf("%q", u.object)
	if u.object == "" {
		name = fmt.Sprintf("with the ID %x", u.id)
	}
	return fmt.Sprintf("%s in the token %q", name, u.token+u.serial)
}
